"""The kernel: which records are one act, which of them counts, and how much. Pure; the loops over rows are compiled."""
