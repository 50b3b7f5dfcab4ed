"""Held grams in use: reserved for a participant with the person's consent, then used once or given back."""
