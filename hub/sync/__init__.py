"""Which link is due, leases, back-off, cursors."""
