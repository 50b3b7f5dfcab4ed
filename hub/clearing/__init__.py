"""Clearing: which records are one act, which of them counts, and windows of decisions that become final."""
