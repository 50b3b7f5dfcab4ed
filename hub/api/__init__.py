"""Routes for platforms, individuals and regulators."""
