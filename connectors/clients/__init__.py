"""What a platform may copy: the other side of the three profiles, small and with few dependencies."""
