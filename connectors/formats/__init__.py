"""Formats that others have published: one file for each protocol, and the codecs they need."""
