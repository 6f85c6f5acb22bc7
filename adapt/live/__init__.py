"""Adaptation to a live stream, in a process of its own beside it."""
