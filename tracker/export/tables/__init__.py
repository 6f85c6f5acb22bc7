"""Formats that are numbers in rows, or arrays."""
