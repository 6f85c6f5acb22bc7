"""The user's own character, moved by a track."""
