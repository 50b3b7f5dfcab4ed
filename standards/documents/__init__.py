"""Format documents for platforms and regulators, made from the data: schemas, tables and pages, always the same. Pure."""
