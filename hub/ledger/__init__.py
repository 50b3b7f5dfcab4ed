"""Postings and balances in whole milligrams."""
