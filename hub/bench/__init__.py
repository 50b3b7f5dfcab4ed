"""Benchmarks: each measures two sides in one run and prints their ratio. Rates differ between machines, ratios little."""
