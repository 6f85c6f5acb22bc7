"""Characters of the user's own: where a track's face is on them, and what their shapes do when it moves."""
