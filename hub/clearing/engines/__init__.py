"""Engines bring all records of a person together, call the kernel, and write what it decided."""
