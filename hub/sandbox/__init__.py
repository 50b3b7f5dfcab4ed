"""A town to try the hub in: simulated people, and simulated platforms that are real servers on the loopback."""
