"""Figures as files: nested JSON without NaN, and files that get their name only when they are complete."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path


def nested(values: dict[str, float]) -> dict:
    """{"a.b": 1} -> {"a": {"b": 1}}."""
    out: dict = {}
    for key, value in values.items():
        *path, name = key.split(".")
        place = out
        for part in path:
            place = place.setdefault(part, {})
        place[name] = value
    return out


def json_text(value: object) -> str:
    """As JSON, which knows no NaN: null is what could not be measured."""
    return json.dumps(_plain(value), indent=1, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> Path:
    """Write a file that gets its name only when it is complete."""
    part = path.with_name("." + path.name)
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
    return path


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
