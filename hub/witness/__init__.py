"""A simple witness, to run elsewhere than the log: it cosigns what has grown from what it cosigned before, and no more.

It needs no database and nothing of a hub but its public key.
"""
