"""The hub's keys: which there are, what hangs on them, and how a new one takes over while traffic flows. ADR 0013."""
