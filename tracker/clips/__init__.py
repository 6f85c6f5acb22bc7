"""Whole clips: who is in them, followed through them, and the folders of results."""
