"""Lay the mapped folders out as the package that they install as, for tools that want to see it on disk.

    python scripts/package_tree.py [DIR]    # default build/tree; prints it

mypy and import-linter read a package from its folder and know nothing of setuptools' `package-dir`.
"""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def build_tree(tree: Path) -> Path:
    """Make `tree`/selftrack of symbolic links to the folders that pyproject.toml maps; returns `tree`."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {name: ROOT / folder for name, folder in settings["package-dir"].items()}
    top = tree / "selftrack"
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir(parents=True)
    places = {path.name: path for path in folders.pop("selftrack").iterdir() if path.name != "__pycache__"}
    places |= {name.removeprefix("selftrack."): folder for name, folder in folders.items()}
    for name, place in places.items():
        (top / name).symlink_to(os.path.relpath(place, top.resolve()))
    return tree


if __name__ == "__main__":
    print(build_tree(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "tree"))
