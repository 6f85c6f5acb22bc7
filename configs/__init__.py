"""Presets in YAML, loaded into the dataclasses that stand beside the code."""
