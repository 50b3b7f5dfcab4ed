"""Grams in markets: pooled into blocks of one tonne, frozen, retired, and their income given back (ADR 0036)."""
