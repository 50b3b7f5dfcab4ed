"""What a person may ask of the hub about themself: a copy of everything, and to be forgotten (PIPL articles 45, 47)."""
