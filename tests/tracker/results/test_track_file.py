"""The track file: exact round trip, derived quantities in closed form, damage refused."""

import csv
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from selftrack.decoders.head.model import load_head
from selftrack.tracker import load
from selftrack.tracker.export import export
from selftrack.tracker.results.curves import write_curves
from selftrack.tracker.results.track_file import VERSION, Track, hold

HEAD = load_head()
DATA = Path(__file__).parents[2] / "data"


def make_track(
    frames: int = 5,
    pose: tuple[float, ...] = (5.0, 0, 0, 0, 80, 60),
    inverse_distance: float = 0.0,
    timecode: str = "",
) -> Track:
    """A track of random codes with the head at one pose."""
    rng = np.random.default_rng(0)
    return Track(
        times=np.arange(frames) / 29.97,
        ok=np.arange(frames) != 2,
        confidence=rng.random(frames, np.float32),
        presence=rng.random(frames, np.float32),
        sharpness=rng.random(frames, np.float32),
        z=rng.normal(0, 0.5, (frames, HEAD.size)).astype(np.float32),
        H=rng.random((frames, 6), np.float32),
        crop=rng.random((frames, 2, 3), np.float32),
        H_image=np.tile(np.array(pose, np.float32), (frames, 1)),
        landmarks=rng.random((frames, 478, 2), np.float32),
        curve_names=HEAD.curve_names,
        curve_values=rng.random((frames, 52), np.float32),
        identity=rng.random(60, np.float32),
        inverse_distance=inverse_distance,
        size=(160, 120),
        clip="somewhere/clip.mp4",
        clip_hash="ab" * 32,
        decoder=HEAD.name,
        decoder_hash=HEAD.hash,
        decoder_path="",
        config='{"start": 0.0, "duration": null}',
        rest=rng.uniform(-0.2, 0.3, 52).astype(np.float32),
        notes=("clip.mp4: ends early; tracked as far as it goes; copy it again", "größer"),
        timecode=timecode,
        timecode_rate=30000 / 1001 if timecode else 0.0,
    )


@pytest.mark.parametrize("timecode", ["", "01:00:00;00"])
def test_round_trip(tmp_path: Path, timecode: str) -> None:
    track = make_track(timecode=timecode)
    track.landmarks[2] = np.nan
    assert track.save(tmp_path) == tmp_path / "track.npz"
    assert [p.name for p in tmp_path.iterdir()] == ["track.npz"]
    for read in (load(tmp_path), load(tmp_path / "track.npz"), load(str(tmp_path))):
        for f in fields(Track):
            np.testing.assert_array_equal(getattr(read, f.name), getattr(track, f.name), err_msg=f.name)
            assert type(getattr(read, f.name)) is type(getattr(track, f.name))
    assert read.settings() == {"start": 0.0, "duration": None}


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_landmarks_stay_in_the_file_where_they_are_not_compressed(tmp_path: Path, write: Callable[..., None]) -> None:
    track = make_track()
    write(tmp_path / "track.npz", **{f.name: np.asarray(getattr(track, f.name)) for f in fields(Track)})
    read = load(tmp_path)
    assert read.landmarks.flags.writeable == (write is np.savez_compressed)
    assert read.z.flags.writeable
    np.testing.assert_array_equal(read.landmarks, track.landmarks)
    (tmp_path / "track.npz").unlink()  # as when another run has taken its place
    np.testing.assert_array_equal(read.landmarks, track.landmarks)
    read.save(tmp_path)
    np.testing.assert_array_equal(load(tmp_path).landmarks, track.landmarks)


def test_a_track_of_version_3_is_read(tmp_path: Path) -> None:
    """Four frames of the bundled clip in a file that version 3 wrote: its curves were not in it, but in the code."""
    old = load(DATA / "track_v3.npz")
    with np.load(DATA / "track_v3.npz") as data:
        raw = {name: data[name] for name in data.files}
    assert raw["version"] == 3 and "curve_values" not in raw and old.version == VERSION and not old.rest.any()
    assert old.notes == ()
    expected = raw["z"][:, 60:112].clip(0, 1)
    np.testing.assert_allclose(np.stack(list(old.curves().values()), 1), expected, atol=1e-6)
    assert list(old.curves()) == list(HEAD.expression_names) and 0.2 < old.curves()["mouthSmileLeft"].max() < 1
    for name in ("times", "ok", "z", "H_image", "landmarks", "confidence"):
        np.testing.assert_array_equal(getattr(old, name), raw[name])
    assert (old.clip, old.size, old.decoder_path) == ("smile.mp4", (640, 360), "")
    old.save(tmp_path)
    again = load(tmp_path)
    for f in fields(Track):
        np.testing.assert_array_equal(getattr(again, f.name), getattr(old, f.name), err_msg=f.name)


_CODE = {"timecode", "timecode_rate"}


@pytest.mark.parametrize(
    ("version", "missing"), [(4, {"rest", "notes", "visible", *_CODE}), (5, {"notes", "visible", *_CODE}), (6, _CODE)]
)
def test_a_track_of_version_4_to_6_is_read(tmp_path: Path, version: int, missing: set[str]) -> None:
    """It has no rest of its own, or nothing of what is seen and no notes, or no timecode."""
    track = make_track()
    values = {f.name: np.asarray(getattr(track, f.name)) for f in fields(Track) if f.name not in missing}
    np.savez(tmp_path / "track.npz", **values | {"version": np.asarray(version)})
    old = load(tmp_path)
    assert old.version == VERSION and old.rest.shape == (52,) and old.rest.any() == (version > 4)
    assert old.notes == (track.notes if version > 5 else ()) and (old.timecode, old.timecode_rate) == ("", 0)
    assert old.start_timecode() is None
    np.testing.assert_array_equal(old.z, track.z)
    assert old.visible.shape == (5, 6) and (old.visible == 1).all()


def test_frames_to_be_trusted() -> None:
    confidence = np.array([0.5, 0.49, 0.9, 0.0], np.float32)
    assert replace(make_track(4), confidence=confidence).trusted() == 0.5


@pytest.mark.parametrize("notes", [(), ("one",), ("one", "another, longer one")])
def test_notes_are_kept(tmp_path: Path, notes: tuple[str, ...]) -> None:
    replace(make_track(), notes=notes).save(tmp_path)
    assert load(tmp_path).notes == notes


def test_hold_repeats_the_last_good_row() -> None:
    values, ok = np.arange(7.0)[:, None], np.array([0, 0, 1, 0, 1, 1, 0], bool)
    np.testing.assert_array_equal(hold(values, ok, np.array([9.0]))[:, 0], [2, 2, 2, 2, 4, 5, 5])
    np.testing.assert_array_equal(hold(values, ok & False, np.array([9.0]))[:, 0], [9] * 7)


def test_curves_are_the_expression_slice_within_0_and_1() -> None:
    track = make_track()
    track = track.with_codes(track.z)
    curves = track.curves()
    assert len(curves) == 52
    for i, name in enumerate(HEAD.expression_names):
        np.testing.assert_array_equal(curves[name], np.clip(track.z[:, 60 + i], 0, 1))


def test_vertices_follow_the_projection_formula() -> None:
    """x = s P R X + t with R = Rz Ry Rx, vertex by vertex in plain numpy."""
    f, rx, ry, rz, tx, ty = pose = (5.0, 0.1, -0.2, 0.3, 80.0, 60.0)
    track = make_track(3, pose)
    about_x = np.array([[1, 0, 0], [0, np.cos(rx), -np.sin(rx)], [0, np.sin(rx), np.cos(rx)]])
    about_y = np.array([[np.cos(ry), 0, np.sin(ry)], [0, 1, 0], [-np.sin(ry), 0, np.cos(ry)]])
    about_z = np.array([[np.cos(rz), -np.sin(rz), 0], [np.sin(rz), np.cos(rz), 0], [0, 0, 1]])
    code, rest = (values.astype(float) for values in (track.z[1, :112], np.concatenate([np.zeros(60), track.rest])))
    shape, at_rest = (np.tensordot(values, HEAD.shapes.numpy().astype(float), 1) for values in (code, rest))
    of_jaw = [HEAD.part_names.index(name) for name in ("teeth_lower", "tongue")]
    at_rest[HEAD.faces[np.isin(HEAD.face_parts, of_jaw)]] = 0  # a face at rest has its teeth shut
    shape += HEAD.mean.numpy() + at_rest
    expected = np.exp(f) * shape @ (about_z @ about_y @ about_x).T + (tx, ty, 0)
    np.testing.assert_allclose(track.vertices()[1], expected, atol=1e-3)
    np.testing.assert_array_equal(track.vertices(slice(1, 3)), track.vertices()[1:3])


@pytest.mark.parametrize(
    "angle,at,direction",
    [
        ("yaw", 2, (-1, 0)),  # the nose goes to the image's left, which is the subject's right
        ("pitch", 1, (0, 1)),  # the nose goes down
    ],
)
def test_signs_of_the_angles(angle: str, at: int, direction: tuple[int, int]) -> None:
    pose = [5.0, 0, 0, 0, 80, 60]
    pose[at] = np.radians(20)
    nose = HEAD.landmarks478.triangles[1, 0]
    track = make_track(1, tuple(pose))
    moved, still = (t.vertices()[0, nose] for t in (track, make_track(1)))
    np.testing.assert_allclose(track.pose()[angle], 20, rtol=1e-5)
    assert np.dot(moved[:2] - still[:2], direction) > 1
    assert track.pose()["scale"] == pytest.approx(np.exp(5.0))


def test_positive_roll_tilts_towards_the_images_right() -> None:
    top = int(HEAD.mean[:, 1].argmin())
    moved, still = (make_track(1, (5.0, 0, 0, r, 80, 60)).vertices()[0, top] for r in (0.3, 0.0))
    assert moved[0] > still[0] + 1


def test_curves_csv(tmp_path: Path) -> None:
    track = make_track()
    lines = write_curves(track, tmp_path).read_text().splitlines()
    columns = lines[0].split(",")
    assert columns[:10] == "frame,time,ok,confidence,yaw,pitch,roll,scale,tx,ty".split(",")
    assert columns[10:62] == ARKIT.split()
    regions = ("eyes", "brows", "mouth")
    assert columns[62:66] == [f"confidence_{region}" for region in (*regions, "pose")]
    assert columns[66:] == [f"held_{region}" for region in regions]
    rows = [line.split(",") for line in lines[1:]]
    assert [r[0] for r in rows] == list("01234") and [r[2] for r in rows] == list("11011")
    np.testing.assert_allclose([float(r[1]) for r in rows], track.times, atol=1e-6)
    for j, name in enumerate(ARKIT.split()):
        np.testing.assert_allclose([float(r[10 + j]) for r in rows], track.curves()[name], atol=1e-5)


def test_curves_csv_has_the_timecode_last(tmp_path: Path) -> None:
    bare = [line.split(",") for line in write_curves(make_track(), tmp_path).read_text().splitlines()]
    coded = [
        line.split(",") for line in write_curves(make_track(timecode="01:00:59;28"), tmp_path).read_text().splitlines()
    ]
    assert [row[:-1] for row in coded] == bare
    expected = ["timecode", "01:00:59;28", "01:00:59;29", "01:01:00;02", "01:01:00;03", "01:01:00;04"]
    assert [row[-1] for row in coded] == expected


def test_export_of_vertices(tmp_path: Path) -> None:
    track = make_track()
    track.save(tmp_path)
    export(tmp_path, "vertices", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as data:
        assert set(data.files) == {"verts", "faces", "ok", "times"}
        np.testing.assert_array_equal(data["verts"], track.vertices())
        assert data["verts"].dtype == np.float32 and np.isfinite(data["verts"]).all()
        assert data["faces"].dtype == np.int32 and data["faces"].max() < data["verts"].shape[1]
        np.testing.assert_array_equal(data["ok"], track.ok)
        np.testing.assert_array_equal(data["times"], track.times)
    with pytest.raises(ValueError, match="unknown format 'mp3'; known: .*vertices"):
        export(tmp_path, "mp3", tmp_path / "out.mp3")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.npz", "track.npz"]


def test_what_is_no_track_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        load(tmp_path)
    (tmp_path / "track.npz").write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(ValueError, match="not a track file"):
        load(tmp_path)
    np.savez(tmp_path / "track.npz", times=np.zeros(3))
    with pytest.raises(ValueError, match="not a track file of version 3"):
        load(tmp_path)


def test_another_decoder_is_refused() -> None:
    with pytest.raises(ValueError, match="track the clip again"):
        replace(make_track(), decoder_hash="0" * 16).vertices()


# Apple's order, as written in the export contract
ARKIT = """
eyeBlinkLeft eyeLookDownLeft eyeLookInLeft eyeLookOutLeft eyeLookUpLeft eyeSquintLeft eyeWideLeft
eyeBlinkRight eyeLookDownRight eyeLookInRight eyeLookOutRight eyeLookUpRight eyeSquintRight eyeWideRight
jawForward jawLeft jawRight jawOpen mouthClose mouthFunnel mouthPucker mouthLeft mouthRight
mouthSmileLeft mouthSmileRight mouthFrownLeft mouthFrownRight mouthDimpleLeft mouthDimpleRight
mouthStretchLeft mouthStretchRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper
mouthPressLeft mouthPressRight mouthLowerDownLeft mouthLowerDownRight mouthUpperUpLeft mouthUpperUpRight
browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff cheekSquintLeft
cheekSquintRight noseSneerLeft noseSneerRight tongueOut
"""


def test_pieces_of_a_table_make_one(make_track: Callable[..., Track], tmp_path: Path) -> None:
    """At every length about the size of a piece."""
    for count in (1, 999, 1000, 1001, 2500):
        rng = np.random.default_rng(count)
        track = make_track(np.arange(count) / 30, {"jawOpen": rng.random(count)})
        with open(write_curves(track, tmp_path), newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["frame"]) for row in rows] == list(range(count))
        np.testing.assert_allclose([float(row["jawOpen"]) for row in rows], track.curves()["jawOpen"], atol=6e-6)
