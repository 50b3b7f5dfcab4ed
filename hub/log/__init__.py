"""The interconnection log: an append-only Merkle tree that anyone can verify with software we did not write.

Read in this order: `leaves` (what is written), `store` (written in the transaction of the change), `sequencer`
(ordered, hashed, signed beside the hot path), `watch` (how late it may be, and what is refused then), `routes` and
`export` (published), `verify` (checked without trusting the hub), `published` (proofs from the files alone).
"""
