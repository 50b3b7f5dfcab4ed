"""The hub's own forms, for platforms that publish no record API: signed push, cursor pull, signed file drop."""
