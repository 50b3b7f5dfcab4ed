"""The interconnection log: an append-only Merkle tree that anyone can verify with software we did not write.

Read in this order: `leaves` (what is written), `store` (written in the transaction of the change), `sequencer`
(ordered, hashed, signed beside the hot path), `routes` and `export` (published), `verify` (checked without trusting
the hub).
"""
