"""Why the kernel decided as it did, as data and in one sentence. Pure."""
