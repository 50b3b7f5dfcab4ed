"""The commands of `tanlian`, a module per subject."""
