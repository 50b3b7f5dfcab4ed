"""Who allowed what: people, grants, links, the guard, and OAuth on both sides. Of ours, imports standards only."""
