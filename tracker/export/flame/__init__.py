"""FLAME's parameters fitted to a track, where the user has that model's files; none of them is part of the project."""
