"""What is held: the figures behind it, and what a reviewer decides about it."""
