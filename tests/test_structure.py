"""The order of the house: floors, rooms of a readable size, one name in site-packages."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
FOLDERS = tuple(SETTINGS["setuptools"]["package-dir"].values())
CODE = (*FOLDERS, "scripts", "tests")
MOST_LINES = 500
MOST_MODULES = 12


def _sources(folders: tuple[str, ...] = FOLDERS) -> Iterator[Path]:
    for folder in folders:
        yield from (ROOT / folder).rglob("*.py")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def package_tree() -> ModuleType:
    """scripts/package_tree.py."""
    spec = spec_from_file_location("package_tree", ROOT / "scripts" / "package_tree.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    """import-linter's contracts of pyproject.toml, held against the package in `tree`."""
    run = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", run, str(ROOT / "pyproject.toml"), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True)


def test_no_import_runs_upwards(package_tree: ModuleType, tmp_path: Path) -> None:
    result = _lint_imports(package_tree.build_tree(tmp_path))
    assert result.returncode == 0, result.stdout


def test_an_import_upwards_in_a_function_is_caught(package_tree: ModuleType, tmp_path: Path) -> None:
    ground = package_tree.build_tree(tmp_path) / "selftrack" / "errors.py"
    ground.unlink()
    ground.write_text("def late():\n    from selftrack.eval.metrics import skin\n    return skin\n")
    result = _lint_imports(tmp_path)
    assert result.returncode == 1
    assert "selftrack.errors -> selftrack.eval.metrics.skin" in result.stdout


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize("folder", CODE)
def test_folders_are_imported_by_the_name_of_the_package(folder: str) -> None:
    mapped = set(FOLDERS) - {"selftrack"}
    bare = [(_name(p), name) for p in _sources((folder,)) for name in _imports(p) if name.split(".")[0] in mapped]
    assert not bare


def test_commands_in_pages_and_docstrings_name_the_package() -> None:
    mapped = "|".join(sorted(set(FOLDERS) - {"selftrack"}))
    pages = [ROOT / "README.md", ROOT / "ASSETS.md", *(ROOT / "docs").rglob("*.md"), *_sources(CODE)]
    wrong = re.compile(rf"python3? -m ({mapped})\b|^\s*(from|import) ({mapped})\b", re.MULTILINE)
    assert not [(_name(page), found[0]) for page in pages for found in wrong.finditer(page.read_text(encoding="utf-8"))]


def test_every_folder_with_code_is_packaged() -> None:
    mapping = SETTINGS["setuptools"]["package-dir"]
    rooms = {
        ".".join([package, *path.parent.relative_to(ROOT / folder).parts])
        for package, folder in mapping.items()
        for path in (ROOT / folder).rglob("*.py")
        if "assets" not in path.parts
    }
    assert rooms == set(SETTINGS["setuptools"]["packages"])


def test_files_can_be_read_at_once() -> None:
    lengths = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in _sources()}
    assert not {name: length for name, length in lengths.items() if length > MOST_LINES}


def test_folders_can_be_seen_at_once() -> None:
    folders = Counter(_name(path.parent) for path in _sources() if path.name != "__init__.py")
    assert not {name: count for name, count in folders.items() if count > MOST_MODULES}


PAGES = [path for folder in (ROOT, *(ROOT / "docs").glob("**/")) for path in sorted(folder.glob("*.md"))]


def _anchors(page: Path) -> set[str]:
    """Headings of a page by the names that GitHub gives them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue  # elsewhere on the web
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert not broken
