"""The conformance suite: what every connector must do, as cases that are run against it. README.md says how."""
