"""A platform asks whether an act was claimed already, before it claims it too; ADR 0029. Nothing tells whose it is."""
