"""What is exchanged with whom: found in the log, paired with the other side's record, measured, exported."""
