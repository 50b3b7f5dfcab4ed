"""The main job on a small town: real processes, real HTTP, real OAuth. Read `story.py` first."""
