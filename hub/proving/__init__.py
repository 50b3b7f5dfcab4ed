"""Proofs made from the hub's tables: bundles for records, decisions, windows and leaves, and the files of final windows."""
