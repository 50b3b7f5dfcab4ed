"""Staff of platforms, of regulators and of the hub: who they are, what they may do, and a record of all they did."""
