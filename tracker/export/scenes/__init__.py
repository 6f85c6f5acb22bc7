"""Formats that are a head in space, for programs that show it."""
