"""Batches in, versions, quarantine, and the record store."""
