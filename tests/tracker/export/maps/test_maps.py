"""Maps against the geometry that they show: vertices that are put on the centres of pixels, surfaces by their depth."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import av
import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.decoders.mesh.rasterizer import rasterize
from selftrack.errors import UserError
from selftrack.io import file_hash
from selftrack.tracker.export import ExportOptions, write
from selftrack.tracker.export.maps import _painter
from selftrack.tracker.export.maps._painter import MapPainter
from selftrack.tracker.export.maps._settings import KINDS
from selftrack.tracker.geometry.crop import apply, face_similarity
from selftrack.tracker.results.track_file import Track

MakeTrack = Callable[..., Track]
HEAD = load_head()
OF_MESH = [name for name, kind in KINDS.items() if not kind.of_clip]
ANGLES = {"rx": 0.1, "ry": -0.25, "rz": 0.2}
SEEN = [int(HEAD.landmarks478.triangles[point, 0]) for point in (1, 10, 152, 50, 280, 17, 107, 336, 61, 291)]
"""Vertices of the nose's tip, the hairline, the chin, cheeks, lip, brows and the mouth's corners."""


class Maps:
    """What an archive of maps holds."""

    def __init__(self, path: Path) -> None:
        with ZipFile(path) as archive:
            self.files = {name: archive.read(name) for name in archive.namelist()}
        self.words = json.loads(self.files["maps.json"])
        self.rows = list(csv.DictReader(self.files["frames.csv"].decode().splitlines()))

    def written(self, name: str, row: int) -> np.ndarray:
        """(H,W,C) whole numbers of a PNG file, RGB."""
        picture = cv2.imdecode(np.frombuffer(self.files[f"{name}/frame_{row:06d}.png"], np.uint8), cv2.IMREAD_UNCHANGED)
        assert picture.dtype == {8: np.uint8, 16: np.uint16}[self.words["maps"][name]["bits"]]
        return picture[..., None] if picture.ndim == 2 else picture[..., ::-1]

    def quantities(self, name: str, row: int) -> np.ndarray:
        """(H,W,C), by what maps.json says of the numbers."""
        channels = self.words["maps"][name]["channels"]
        low, high = (np.array([channel[end] for channel in channels]) for end in ("low", "high"))
        return low + self.written(name, row) / (2 ** self.words["maps"][name]["bits"] - 1) * (high - low)

    def landmarks(self) -> np.ndarray:
        return np.load(io.BytesIO(self.files["landmarks.npy"]))

    def matrix(self, row: int) -> np.ndarray:
        return np.array([float(self.rows[row][name]) for name in "abcdef"]).reshape(2, 3)


def maps_of(track: Track, path: Path, **options: object) -> Maps:
    return Maps(write(track, "maps", path / "maps.zip", ExportOptions(**options)))


def turned(points: np.ndarray) -> np.ndarray:
    """Points (V,3) of the head frame turned by `ANGLES`, by SciPy."""
    return Rotation.from_euler("xyz", list(ANGLES.values())).apply(points)


@pytest.mark.parametrize("inverse_distance", [0.0, 1.5])
def test_a_vertex_on_a_pixels_centre(make_track: MakeTrack, tmp_path: Path, inverse_distance: float) -> None:
    """Each row has another vertex there, where a camera that is written out sees it: its place on the mean in pncc, to
    half of 1/255, its place in the texture, and how far it lies before the head's origin, to 5 micrometres."""
    curves, f = {"jawOpen": 0.3, "mouthSmileLeft": 0.8}, 7.0
    jaw, smile = (HEAD.blendshapes[ARKIT_NAMES.index(name)].numpy() for name in curves)
    place = turned(HEAD.mean.numpy() + 0.3 * jaw + 0.8 * smile)[SEEN]
    at = np.array([200, 140])
    tx, ty = (at - np.exp(f) * place[:, :2] / (1 + inverse_distance * place[:, 2:])).T
    times = np.arange(len(SEEN)) / 25
    track = make_track(times, curves, size=(400, 300), inverse_distance=inverse_distance, f=f, tx=tx, ty=ty, **ANGLES)
    maps = maps_of(track, tmp_path, maps=("pncc", "depth", "uv"))
    mean = HEAD.mean.numpy() * [1, -1, -1]
    codes = (mean - mean.min(0)) / (mean.max(0) - mean.min(0))
    assert maps.words["maps"]["pncc"]["extent"] == np.stack([mean.min(0), mean.max(0)], -1).tolist()
    for row, vertex in enumerate(SEEN):
        seen = {name: maps.quantities(name, row)[at[1], at[0]] for name in ("pncc", "depth", "uv")}
        assert seen["depth"] == pytest.approx(place[row, 2], abs=6e-6), "it is hidden, or elsewhere"
        np.testing.assert_allclose(seen["pncc"], codes[vertex], atol=0.55 / 255)
        uv = HEAD.uvs[HEAD.uv_faces[HEAD.faces == vertex]].numpy()
        assert np.ptp(uv, 0).max() == 0, "of a vertex on a seam there is more than one"
        np.testing.assert_allclose(seen["uv"], [*uv[0], 1], atol=2e-5)


def test_normals_are_those_of_the_depth(make_track: MakeTrack, tmp_path: Path) -> None:
    """The gradient of the depth map, metres a metre, says how the surface lies."""
    track = make_track([0.0], size=(500, 600), f=8.0, **ANGLES)
    maps = maps_of(track, tmp_path, maps=("normals", "depth", "parts"))
    depth = maps.quantities("depth", 0)[..., 0]
    down, right = np.gradient(depth, np.exp(-8.0))
    expected = np.stack([right, -down, np.ones_like(depth)], -1)
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    head = (maps.written("parts", 0)[..., 0] == 1) & (expected[..., 2] > 0.5)
    normals = maps.quantities("normals", 0)[head]
    away = np.degrees(np.arccos((normals * expected[head]).sum(-1).clip(-1, 1)))  # the depth has facets
    assert head.mean() > 0.3 and np.median(away) < 6 and np.abs((normals - expected[head]).mean(0)).max() < 0.01
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=0.01)


def test_normals_turn_with_the_crop(make_track: MakeTrack, tmp_path: Path) -> None:
    """A picture that is turned by 90 degrees shows a normal to the right where the frame's points down."""
    quarter = np.array([[[0, 1, 0], [-1, 0, 255]]], np.float32)  # right -> up, down -> right
    track = replace(make_track([0.0], size=(256, 256), f=6.8), crop=quarter)
    plain = np.rot90(maps_of(track, tmp_path, maps=("normals",)).quantities("normals", 0))
    maps = maps_of(track, tmp_path, maps=("normals",), crop="face", size=256)
    head = (plain > -1).any(-1)
    x, y, z = plain[head].T
    close = np.abs(maps.quantities("normals", 0)[head] - np.stack([-y, x, z], -1)).max(-1) < 0.02
    assert head.mean() > 0.1 and close.mean() > 0.999


def test_parts_are_named(make_track: MakeTrack, tmp_path: Path) -> None:
    """The subject's left eye is on the right of the picture; under the lifted lip there are teeth."""
    track = make_track([0.0], {"mouthUpperUpLeft": 1, "mouthUpperUpRight": 1}, size=(400, 300), f=7.2)
    maps = maps_of(track, tmp_path, maps=("parts",))
    labels = {int(number): name for number, name in maps.words["maps"]["parts"]["labels"].items()}
    parts, vertices = maps.written("parts", 0)[..., 0], track.vertices()
    iris = HEAD.landmarks478(torch.from_numpy(vertices))[0, [468, 473], :2].round().int().tolist()
    assert [labels[parts[y, x]] for x, y in iris] == ["eye_right", "eye_left"]
    assert {"head", "teeth_upper", "neck"} <= {labels[number] for number in np.unique(parts) if number}
    assert parts[0, 0] == 0


@pytest.mark.parametrize("inverse_distance", [0.0, 1.5])
def test_in_the_frame_they_lie_where_the_overlay_has_the_mesh(
    make_track: MakeTrack, tmp_path: Path, inverse_distance: float
) -> None:
    track = make_track([0.0], size=(301, 203), inverse_distance=inverse_distance, f=6.9, **ANGLES)
    maps = maps_of(track, tmp_path)
    covered = rasterize(torch.from_numpy(track.vertices()), HEAD.faces, (203, 301)).face_index[0].numpy() >= 0
    for name in set(OF_MESH) - {"landmarks"}:
        assert ((maps.written(name, 0) > 0).any(-1) == covered).mean() > 0.9999, name
    points = HEAD.landmarks(68)(torch.from_numpy(track.vertices()))[0, :, :2].numpy()
    np.testing.assert_allclose(maps.landmarks()[0], points, atol=1e-3)
    drawn = (maps.written("landmarks", 0) > 0).any(-1)
    assert all(drawn[y, x] for x, y in points.round().astype(int).tolist()), "lines go through all points"
    np.testing.assert_array_equal(maps.matrix(0), np.eye(2, 3))


def test_a_rectangle_is_cut_out_and_scaled(make_track: MakeTrack, tmp_path: Path) -> None:
    """At the clip's scale its pixels are those of the whole frame; it may reach beyond the frame."""
    track = make_track([0.0], size=(320, 240), f=6.9, **ANGLES)
    whole = maps_of(track, tmp_path)
    part = maps_of(track, tmp_path, crop="100,80,120,90")
    for name in ("pncc", "depth", "uv", "parts", "normals"):
        a, b = whole.quantities(name, 0)[80:170, 100:220], part.quantities(name, 0)
        assert b.shape[:2] == (90, 120) and (np.abs(a - b).max(-1) < 2 / 255).mean() > 0.999
    beyond = maps_of(track, tmp_path, crop="-40,-30,400,300", size=800)
    assert (beyond.words["width"], beyond.words["height"]) == (800, 600)
    np.testing.assert_allclose(beyond.landmarks()[0], 2 * (whole.landmarks()[0] + [40.5, 30.5]) - 0.5, atol=0.01)
    np.testing.assert_allclose(beyond.landmarks(), apply(beyond.matrix(0), whole.landmarks()), atol=0.01)


@pytest.mark.parametrize(("size", "side"), [(None, 512), (300, 300)])
def test_the_crop_around_the_face_is_the_trackers(
    make_track: MakeTrack, tmp_path: Path, size: int | None, side: int
) -> None:
    """Upright, in its middle, and frames.csv says where a pixel of the clip has gone."""
    track = make_track([0.0], size=(640, 360), f=6.8, rz=0.4, tx=200.0)
    points = HEAD.landmarks478(torch.from_numpy(track.vertices()))[..., :2].numpy()
    track = replace(track, crop=face_similarity(points).astype(np.float32))
    whole = maps_of(track, tmp_path, maps=("landmarks",))
    face = maps_of(track, tmp_path, maps=("landmarks", "parts"), crop="face", size=size)
    assert face.written("parts", 0).shape == (side, side, 1)
    (found,) = face.landmarks()
    np.testing.assert_allclose(found, apply(face.matrix(0), whole.landmarks())[0], atol=0.05)
    right, left = found[36:42].mean(0), found[42:48].mean(0)
    assert abs(left[1] - right[1]) < 0.01 * side and np.abs(found[[27, 33], 0] - side / 2).max() < 0.03 * side


def test_lost_frames_are_empty(make_track: MakeTrack, tmp_path: Path) -> None:
    maps = maps_of(make_track([0.0, 0.04, 0.08], lost=[1], size=(64, 48), f=5.0), tmp_path)
    for name in OF_MESH:
        assert [bool(maps.written(name, row).any()) for row in range(3)] == [True, False, True]
    assert [line["ok"] for line in maps.rows] == ["1", "0", "1"]
    np.testing.assert_array_equal(np.isnan(maps.landmarks()).all((1, 2)), [False, True, False])


def test_all_formats_hold_the_same(make_track: MakeTrack, tmp_path: Path) -> None:
    """FFV1 the numbers of the PNG files, bit by bit, at the clip's times; EXR what these mean, and alpha."""
    track = make_track(10 + np.arange(3) / 25, {"jawOpen": 0.5}, lost=[1], size=(131, 94), f=6.2, **ANGLES)
    png = maps_of(track, tmp_path)
    videos, floats = (
        Maps(write(track, to, tmp_path / f"{to}.zip", ExportOptions())) for to in ("maps-mkv", "maps-exr")
    )
    assert png.rows == videos.rows == floats.rows and png.words["maps"].keys() == floats.words["maps"].keys()
    for name in OF_MESH:
        kind = KINDS[name]
        with av.open(io.BytesIO(videos.files[f"{name}.mkv"])) as video:
            layout = {1: "gray", 3: "rgb24"} if kind.bits == 8 else {1: "gray16le", 3: "rgb48le"}
            frames = list(video.decode(video=0))
            assert video.streams.video[0].codec_context.name == "ffv1"
        assert [frame.time for frame in frames] == pytest.approx([0, 0.04, 0.08], abs=1e-3)
        for row, frame in enumerate(frames):
            array = frame.reformat(format=layout[len(kind.channels)]).to_ndarray()
            np.testing.assert_array_equal(array.reshape(94, 131, -1), png.written(name, row))
            exr = read_exr(floats.files[f"{name}/frame_{row:06d}.exr"], (94, 131))
            covered = exr[..., 3] > 0
            np.testing.assert_array_equal(covered, png.written(name, row).any(-1))
            channels = png.words["maps"][name]["channels"]
            step = [(channel["high"] - channel["low"]) / kind.largest for channel in channels]
            away = np.abs(exr[..., : len(channels)] - png.quantities(name, row))
            assert (away[covered] <= 0.51 * np.array(step)).all() and not exr[~covered].any()


def read_exr(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """(H,W,4) RGBA of an EXR picture of 32-bit floats, by FFmpeg's planes."""
    (frame,) = av.CodecContext.create("exr", "r").decode(av.Packet(data))
    planes = [np.frombuffer(plane, np.float32).reshape(size[0], -1)[:, : size[1]] for plane in frame.planes]
    return np.stack([planes[index] for index in (2, 0, 1, 3)], -1)


def test_the_code_of_a_point_is_the_same_for_everyone(make_track: MakeTrack, tmp_path: Path) -> None:
    """What a person has at rest moves the mesh, and not the codes of its points."""
    rest = np.zeros(52, np.float32)
    rest[ARKIT_NAMES.index("jawOpen")] = 1.0
    track = make_track([0.0], size=(200, 200), f=7.0)
    plain, resting = (maps_of(one, tmp_path, maps=("pncc",)) for one in (track, replace(track, rest=rest)))
    assert plain.words["maps"]["pncc"]["extent"] == pytest.approx(
        np.array(resting.words["maps"]["pncc"]["extent"]), abs=1e-6
    )
    nose = track.vertices()[0, SEEN[0], :2].round().astype(int)
    codes = [maps.written("pncc", 0)[nose[1], nose[0]].astype(int) for maps in (plain, resting)]
    assert np.abs(codes[0] - codes[1]).max() <= 1 and (plain.files != resting.files)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"crop": "head"}, "--crop must be frame, face, or X,Y,WIDTH,HEIGHT in pixels of the clip, .* got 'head'"),
        ({"crop": "0,0,-5,5"}, "--crop must be"),
        ({"crop": "nan,0,5,5"}, "--crop must be"),
        ({"crop": "0,nan,5,5"}, "--crop must be"),
        ({"crop": "0,0,1e-310,10", "size": 64}, "--crop must be .* width and height from 1 to 100000; got"),
        ({"crop": "0,0,5,1e300"}, "--crop must be"),
        ({"crop": "-1e300,0,50,50"}, "--crop must be"),
        ({"size": 0}, "16 to 8192 pixels"),
        ({"crop": "0,0,4,400"}, "16 to 8192 pixels"),
        ({"crop": "0,0,100,1", "size": 100}, "16 to 8192 pixels"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    make_track: MakeTrack, tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        maps_of(make_track([0.0]), tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_without_landmarks_there_is_no_map_of_them(
    make_track: MakeTrack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    track = make_track([0.0], size=(64, 48), f=5.0)
    monkeypatch.setattr(type(HEAD), "has_landmarks", False)
    assert set(maps_of(track, tmp_path).words["maps"]) == set(OF_MESH) - {"landmarks"}
    with pytest.raises(UserError, match="the map landmarks needs .* name others with --maps: pncc,normals,depth,uv,"):
        maps_of(track, tmp_path, maps=("pncc", "landmarks"))


def test_the_clips_own_picture_under_the_same_crop(
    make_track: MakeTrack, make_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit in the frame, also in a video; a rectangle is cut out of it; in the crop around the face a mark that
    lies on a landmark lies there again."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (90, 120, 3), dtype=np.uint8) for _ in range(2)]
    track = make_track([0.0, 0.04], lost=[1], size=(120, 90), f=5.6, **ANGLES)
    points = HEAD.landmarks478(torch.from_numpy(track.vertices()))[..., :2].numpy()
    nose = points[0, 1].round().astype(int)
    frames[0][nose[1] - 2 : nose[1] + 3, nose[0] - 2 : nose[0] + 3] = [255, 0, 0]
    clip = make_clip("clip.mkv", frames, codec="ffv1", pix_fmt="bgr0")
    track = replace(track, clip=str(clip), clip_hash=file_hash(clip), crop=face_similarity(points).astype(np.float32))
    whole = maps_of(track, tmp_path, maps=("image", "parts"))
    monkeypatch.setattr(_painter, "rasterize", None)  # the mesh is not drawn where none of its maps is asked for
    part = maps_of(track, tmp_path, maps=("image",), crop="30,20,50,40")
    for row, frame in enumerate(frames):
        np.testing.assert_array_equal(whole.written("image", row), frame)
        np.testing.assert_array_equal(part.written("image", row), frame[20:60, 30:80])
    options = ExportOptions(maps=("image",))
    with av.open(io.BytesIO(Maps(write(track, "maps-mkv", tmp_path / "v.zip", options)).files["image.mkv"])) as video:
        np.testing.assert_array_equal(next(video.decode(video=0)).to_ndarray(format="rgb24"), frames[0])
    face = maps_of(track, tmp_path, maps=("image",), crop="face")
    x, y = apply(face.matrix(0), nose[None].astype(float))[0].round().astype(int)
    assert face.written("image", 0)[y, x].tolist() == [255, 0, 0]
    with pytest.raises(UserError, match="the clip of this track cannot be read"):
        maps_of(replace(track, clip="gone.mp4"), tmp_path, maps=("image",))


@pytest.mark.parametrize(
    ("tracked", "words"),
    [("ab" * 32, "is not the clip that was tracked"), (None, "ends after 2 of the track's 3 frames")],
)
def test_pictures_of_another_clip_are_refused(
    make_track: MakeTrack, make_clip: Callable[..., Path], tmp_path: Path, tracked: str | None, words: str
) -> None:
    """A file that took the clip's place, and one of fewer frames than the track."""
    clip = make_clip("clip.mkv", [np.full((48, 64, 3), 99, np.uint8)] * 2, codec="ffv1", pix_fmt="bgr0")
    track = make_track(np.arange(3) / 25, size=(64, 48), f=5.0)
    with pytest.raises(UserError, match=words):
        maps_of(replace(track, clip=str(clip), clip_hash=tracked or file_hash(clip)), tmp_path, maps=("image",))
    assert not list(tmp_path.glob("*maps*"))


def test_videos_that_a_killed_run_has_left_are_removed(
    make_track: MakeTrack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are many gigabytes. Those of a run that is still going on stay."""
    track, folders, draw = make_track([0.0], size=(64, 48), f=5.0), [], MapPainter.__call__

    def drawing(painter: MapPainter, row: int) -> dict:
        monkeypatch.setattr(MapPainter, "__call__", draw)
        folders.extend(path for path in tmp_path.iterdir() if path.is_dir())
        write(track, "maps-mkv", tmp_path / "meanwhile.zip")
        assert folders[0].exists()
        return draw(painter, row)

    monkeypatch.setattr(MapPainter, "__call__", drawing)
    write(track, "maps-mkv", tmp_path / "a.zip")
    folders[0].mkdir()  # as if it had been killed
    (folders[0] / "pncc.mkv").touch()
    write(track, "maps-mkv", tmp_path / "a.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "meanwhile.zip"]
