"""Every format with every kind of decoder: the file is written, or one line says why it is not."""

import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.base import Decoder, Topology
from selftrack.decoders.dam.model import Dam
from selftrack.decoders.dam.networks import DamConfig
from selftrack.decoders.registry import load_decoder
from selftrack.errors import UserError
from selftrack.tracker.export import (
    FORMATS,
    ExportOptions,
    Need,
    default_path,
    export,
    exporter,
    known,
    require,
    write,
)
from selftrack.tracker.export.gaze import gaze_directions
from selftrack.tracker.results.smoothing import CleanConfig, clean
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.sources.opening import source_hash

TIMES = [0.0, 0.04, 0.08]
ANY = {"csv", "edl", "exr", "mov", "nk", "npz", "nuke", "obj", "osc", "otio", "parquet", "ply", "png", "vertices"}
ANY |= {"maps", "maps-exr", "maps-mkv"}
ARKIT = {"character-csv", "character-glb"} | {
    "flame",
    "livelink",
    "reenact",
    "vmc",
    "unreal",
    "metahuman",
    "openface",
    "aftereffects",
    "blender",
    "maya",
}
WRITTEN = {"head": ANY | ARKIT | {"alembic", "fbx", "glb", "usd", "viewer"}, "dam": ANY | ARKIT, "foreign": ANY}


def strip() -> Topology:
    """Two triangles that nobody has placed landmarks on."""
    faces = torch.tensor([[0, 1, 2], [2, 1, 3]])
    corners = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    yes, part = torch.ones(2, dtype=torch.bool), torch.zeros(2, dtype=torch.long)
    return Topology(faces, corners, faces, part, ("skin",), yes, torch.ones(32, 32, dtype=torch.bool), None)


@pytest.fixture
def track_by(make_track: Callable[..., Track], tmp_path: Path) -> Callable[[str], Track]:
    """`track_by("dam")`: a track of three frames by a decoder of a kind, with random codes."""

    def make(kind: str) -> Track:
        track = make_track(TIMES, {"jawOpen": np.array([0, 0.5, 1]), "eyeLookUpLeft": 0.5}, lost=[1])
        if kind == "head":
            return track
        head = load_decoder()
        topology = head.topology if kind == "dam" else strip()
        square = torch.tensor([[-0.1, -0.1, 0], [0.1, -0.1, 0], [-0.1, 0.1, 0], [0.1, 0.1, 0]])
        mean = head.mean if kind == "dam" else square
        torch.manual_seed(0)
        dam = Dam(topology, mean, torch.full((3, 32, 32), 0.5), DamConfig(32, hidden=8))
        if kind == "dam":
            dam.arkit[:, -1] = 0.25  # training fits the map where the topology is the head's
        path = dam.save(tmp_path / f"{kind}.safetensors")
        own = {"decoder": "dam", "decoder_hash": load_decoder(path).hash, "decoder_path": str(path)}
        z = np.random.default_rng(0).normal(size=(3, 128))
        return replace(track, identity=np.zeros(0, np.float32), **own).with_codes(z)

    return make


def test_each_kind_has_a_row_for_each_format() -> None:
    assert set(FORMATS) == WRITTEN["head"]


@pytest.mark.parametrize("to", sorted(FORMATS))
@pytest.mark.parametrize("kind", WRITTEN)
def test_a_format_takes_a_decoder_or_says_why_not(
    kind: str, to: str, track_by: Callable[[str], Track], tmp_path: Path
) -> None:
    if FORMATS[to].package and not find_spec(FORMATS[to].package):
        pytest.skip(f"{FORMATS[to].package} is not installed")
    track, out = track_by(kind), tmp_path / "out"
    out.mkdir()
    path = default_path(track.clip, to, out)
    if to in WRITTEN[kind] and FORMATS[to].asks:  # for files that are the user's; written in its own tests
        with pytest.raises(UserError, match=f"format {to} needs --.* (FILE|PHOTO|RIG), an option of track-export"):
            require([to], track.model())
        return
    if to in WRITTEN[kind]:
        assert write(track, to, path).stat().st_size > 100 and list(out.iterdir()) == [path]
        return
    with pytest.raises(UserError, match=f"format {to} needs .*does not have; these can be written: ") as refused:
        write(track, to, path)
    assert "\n" not in str(refused.value) and not list(out.iterdir())
    names = str(refused.value).rpartition(": ")[2].split(", ")
    assert set(names) == WRITTEN[kind]
    with pytest.raises(UserError, match=f"format {to} needs"):  # as soon as the decoder is known, before tracking
        require([to], track.model())


@pytest.mark.parametrize("to", ["exr", "maps", "maps-exr", "maps-mkv", "obj", "ply", "png", "vertices"])
def test_what_is_unpacked_can_be_read_by_everyone(make_track: Callable[..., Track], tmp_path: Path, to: str) -> None:
    with zipfile.ZipFile(write(make_track([0.0], size=(64, 48), f=5.0), to, tmp_path / "a.zip")) as archive:
        assert {stat.filemode(member.external_attr >> 16) for member in archive.infolist()} == {"-rw-r--r--"}


def test_openface_of_a_persons_own_model(track_by: Callable[[str], Track], tmp_path: Path) -> None:
    """The gaze is that of the curves, the points are those of the model's mesh."""
    track = track_by("dam")
    header, first, *_ = (line.split(",") for line in write(track, "openface", tmp_path / "a.csv").open())
    row = dict(zip((name.strip() for name in header), map(float, first), strict=True))
    mesh, chin = track.vertices(slice(0, 1))[0], 8
    embedding = track.model().landmarks68
    at = embedding.weights[chin].numpy() @ mesh[embedding.triangles[chin].numpy()]
    assert (row["x_8"], row["y_8"]) == pytest.approx(at[:2], abs=1e-3)
    ours = gaze_directions(track)
    like = track_by("head").with_codes(np.tile(code({name: 0.25 for name in ARKIT_NAMES}), (3, 1)))
    np.testing.assert_allclose(ours, gaze_directions(like), atol=1e-6)


def code(curves: dict[str, float]) -> np.ndarray:
    """(128,) code of the bundled head with these curves."""
    z = np.zeros(128, np.float32)
    for name, value in curves.items():
        z[60 + ARKIT_NAMES.index(name)] = value
    return z


def test_the_clean_up_needs_blend_shapes(track_by: Callable[[str], Track]) -> None:
    with pytest.raises(UserError, match="weights of shapes"):
        clean(track_by("dam"), CleanConfig())


def test_names_and_needs_are_known_without_torch() -> None:
    program = """
import sys
from selftrack.errors import UserError
from selftrack.tracker.export import FORMATS, known
assert known(["glb", "csv"]) == ("glb", "csv") and FORMATS["glb"].needs
try:
    known(["mp3"])
except UserError as error:
    assert "blender, character" in str(error), error
print([name for name in ("torch", "cv2", "numba", "pygltflib") if name in sys.modules])
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"


@pytest.fixture
def words() -> Iterator[None]:
    """A format of somebody else's, added by one file and one registration."""

    @exporter("words", "{clip}_words.txt", needs=[Need.ARKIT_CURVES])
    def write_words(track: Track, path: Path, options: ExportOptions) -> None:
        """Write a word a frame."""
        smile = track.curves()["mouthSmileLeft"]
        path.write_text("\n".join("smile" if value > 0.5 else "rest" for value in smile))

    yield
    del FORMATS["words"]


def test_a_new_exporter(
    words: None, make_track: Callable[..., Track], track_by: Callable[[str], Track], tmp_path: Path
) -> None:
    assert known(["words", "csv"]) == ("words", "csv")
    with pytest.raises(UserError, match="unknown format 'word'; did you mean words"):
        known(["word"])
    with pytest.raises(UserError, match="known: .*words"):
        known(["zzz"])
    make_track(TIMES, {"mouthSmileLeft": np.array([0, 1, 0])}).save(tmp_path)
    path = export(tmp_path, "words")
    assert path == tmp_path / "take {1}_words.txt" and path.read_text() == "rest\nsmile\nrest"
    assert write(track_by("dam"), "words", tmp_path / "b.txt").read_text() == "rest\nrest\nrest"
    with pytest.raises(UserError, match="format words needs ARKit's curves"):
        write(track_by("foreign"), "words", tmp_path / "c.txt")
    with pytest.raises(ValueError, match="a format words already"):
        exporter("words", "{clip}.txt")


def test_needs_are_capabilities_of_a_decoder() -> None:
    assert all(hasattr(Decoder, need.value) and getattr(load_decoder(), need.value) is True for need in Need)


@pytest.mark.parametrize("to", ["exr", "maps", "maps-exr", "maps-mkv", "mov", "obj", "ply", "png"])
def test_formats_that_take_their_time_tell_each_frame(
    make_track: Callable[..., Track], tmp_path: Path, to: str
) -> None:
    """Lost frames, too."""
    told: list[tuple[int, int]] = []
    options = ExportOptions(progress=lambda done, total: told.append((done, total)))
    write(make_track(np.arange(4) / 24, lost=[2]), to, tmp_path / f"out{Path(FORMATS[to].file).suffix}", options)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_texture_that_is_read_from_the_clip_is_told(make_track: Callable[..., Track], make_clip: Callable) -> None:
    clip = make_clip("grey.mp4", [np.full((360, 640, 3), 60, np.uint8)] * 3)
    track = replace(make_track(np.arange(3) / 25), clip=str(clip), clip_hash=source_hash(clip))
    told: list[tuple[int, int]] = []
    write(track, "glb", clip.with_name("a.glb"), ExportOptions(progress=lambda *step: told.append(step)))
    assert told == [(1, 3), (2, 3), (3, 3)]
