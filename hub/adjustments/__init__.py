"""Mistakes mended by new entries: what staff take back or move of cleared events, with a reason and perhaps a case."""
