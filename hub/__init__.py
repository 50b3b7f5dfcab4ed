"""The hub: joins standards, consent, connectors and mappings into one flow (see pipeline.py)."""
