"""How each platform of the town tells of an act: its own words, its own clock, its own mistakes."""
