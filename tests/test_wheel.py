"""The wheel: what it holds, what it puts into site-packages, and that its commands run beside a user's own modules."""

import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAPPING = PROJECT["tool"]["setuptools"]["package-dir"]
COMMANDS = tuple(PROJECT["project"]["scripts"])
OWN = ("adapt", "batch", "decoders", "eval", "service", "synthetic", "track", "tracker", "training")


def _run(*command: str | Path, cwd: Path) -> str:
    """Output of a command that has to end with status 0, in an environment without PYTHONPATH."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources: what earlier builds have left cannot get into it."""
    source = tmp_path_factory.mktemp("source")
    for folder in MAPPING.values():
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", "dist")
    _run(sys.executable, "-m", "pip", "wheel", ".", *options, cwd=source)
    (built,) = (source / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel, which borrows the other packages of the running one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    options = ("--no-deps", "--no-index", "--ignore-installed", "--no-compile", "--quiet")
    _run(sys.executable, "-m", "pip", "--python", _python(folder), "install", *options, wheel, cwd=folder)
    # as a line of a .pth file, a folder's packages can be imported, but its own .pth files are not followed: an
    # editable install of this project is not found there
    borrowed = [path for path in sys.path if Path(path).name == "site-packages"]
    (_site_packages(folder) / "borrowed.pth").write_text("\n".join(borrowed))
    return folder


def _python(environment: Path) -> Path:
    return environment / "bin" / "python"


def _site_packages(environment: Path) -> Path:
    (folder,) = environment.glob("lib/python3*/site-packages")
    return folder


@pytest.fixture
def users_folder(tmp_path: Path, smile: Path) -> Path:
    """A folder with a clip and modules of a user's own, whose names are those of our folders; none can be imported."""
    for name in OWN:
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('the user\\'s own {name}.py was imported')\n")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "__init__.py").write_text("raise RuntimeError('the user\\'s own configs was imported')\n")
    shutil.copy(smile, tmp_path / "clip.mp4")
    return tmp_path


def test_wheel_holds_every_file_of_the_mapped_folders_and_nothing_else(wheel: Path) -> None:
    expected = set()
    for package, folder in MAPPING.items():
        files = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        expected |= {Path(*package.split("."), path.relative_to(ROOT / folder)).as_posix() for path in files}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {Path(name).suffix for name in held} >= {".npz", ".safetensors", ".tflite", ".yaml", ".html", ".js", ".json"}
    assert held == expected


def test_only_selftrack_reaches_site_packages(environment: Path) -> None:
    version = PROJECT["project"]["version"]
    installed = {path.name for path in _site_packages(environment).iterdir()} - {"borrowed.pth"}
    assert installed == {"selftrack", f"selftrack-{version}.dist-info"}
    scripts = {path.name for path in (environment / "bin").iterdir() if "python" not in path.name.lower()}
    assert scripts - {path for path in scripts if path.startswith(("activate", "Activate"))} == set(COMMANDS)


def test_packages_are_the_wheels_own(environment: Path, users_folder: Path) -> None:
    find = "import selftrack.tracker, selftrack.configs as c; print(selftrack.tracker.__file__); print(c.__file__)"
    for line in _run(_python(environment), "-c", find, cwd=users_folder).splitlines():
        assert Path(line).is_relative_to(_site_packages(environment))


@pytest.mark.parametrize("command", COMMANDS)
def test_command_runs_beside_modules_of_the_user(command: str, environment: Path, users_folder: Path) -> None:
    assert command in _run(environment / "bin" / command, "--help", cwd=users_folder)


def test_module_that_is_a_command_runs_beside_modules_of_the_user(environment: Path, users_folder: Path) -> None:
    python = _python(environment)
    assert "table1" in _run(python, "-m", "selftrack.eval.paper.tables", "--help", cwd=users_folder)


def test_clip_is_tracked_beside_modules_of_the_user(environment: Path, users_folder: Path) -> None:
    own = {path: path.read_bytes() for path in users_folder.rglob("*") if path.is_file()}
    command = ("clip.mp4", "--duration", "0.15", "--no-overlay", "--export", "livelink")  # an overlay waits for Numba
    _run(environment / "bin" / "track", *command, cwd=users_folder)
    for name in ("curves.csv", "clip_livelink.csv"):  # frames at 0, 1/30, ... 4/30 seconds
        assert len((users_folder / "clip_track" / name).read_text().splitlines()) == 1 + 5
    assert {path: path.read_bytes() for path in own} == own
