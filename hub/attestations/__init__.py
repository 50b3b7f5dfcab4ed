"""Attestations: a person's cleared total for a period, signed, shown in part, checked offline, and revocable. ADR 0033."""
