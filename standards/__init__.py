"""The words that every part of the hub relies on: schemas, behaviours, factors, methodology, overlap rules. Pure."""
