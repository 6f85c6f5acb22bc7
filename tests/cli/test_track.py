"""The commands as a user types them: results, bad input in one line, and the real networks end to end."""

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from selftrack.adapt import run as adaptation
from selftrack.adapt import verdict as verdicts
from selftrack.adapt.learning.trainer import AdaptConfig
from selftrack.tracker import load
from selftrack.tracker.network.weights import WEIGHTS, ClipFit, load_network, load_weights, save_adapted
from selftrack.tracker.refinement.refiner import Refiner
from selftrack.tracker.refinement.subject import Subject
from selftrack.tracker.sources.opening import open_source

MakeClip = Callable[..., Path]
WRITTEN = {"track.npz", "curves.csv", "overlay.mp4", "contact_sheet.png", "config.yaml", ".selftrack"}


def still(count: int = 3, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Grey pictures without a face."""
    return [np.full((height, width, 3), 90, np.uint8)] * count


def test_bundled_clip(run: Callable, smile: Path) -> None:
    status, out, _ = run("track", smile, "--duration", "0.8")
    assert status == 0 and "frames   24, lost 0" in out and "frames/s" in out
    folder = Path("smile_track")
    assert {p.name for p in folder.iterdir()} == WRITTEN
    track = load(folder)
    points = track.model().landmarks478
    vertices = track.vertices()
    fitted = np.einsum("tlkc,lk->tlc", vertices[:, points.triangles], points.weights)[..., :2]
    iod = np.linalg.norm(track.landmarks[:, 33] - track.landmarks[:, 263], axis=1)
    distance = np.linalg.norm(fitted - track.landmarks, axis=-1).mean(axis=1)
    assert (distance / iod).mean() < 0.03
    with open_source(folder / "overlay.mp4") as reader:
        np.testing.assert_allclose([f.time for f in reader], track.times, atol=1e-6)
    status, out, _ = run("track-export", folder, "--to", "vertices", "-o", "vertices.npz")
    assert status == 0 and out.strip() == "vertices.npz"
    np.testing.assert_array_equal(np.load("vertices.npz")["verts"], vertices)


def test_smile_shows_in_the_curves(run: Callable, smile: Path) -> None:
    assert run("track", smile, "-o", "out", "--duration", 1.4, "--no-overlay")[0] == 0
    assert not Path("out/overlay.mp4").exists() and not Path("out/contact_sheet.png").exists()
    curves = load("out").curves()
    for name in ("mouthSmileLeft", "mouthSmileRight"):
        assert curves[name].max() - curves[name][:10].mean() > 0.3


def test_a_face_that_goes_and_comes_back(run: Callable) -> None:
    clip = Path(__file__).parents[1] / "data" / "lost.mp4"
    status, out, _ = run("track", clip, "-o", "out")
    assert status == 0 and "lost 12" in out
    track = load("out")
    np.testing.assert_array_equal(np.flatnonzero(~track.ok), range(12, 24))
    # frames 12+12+i show the picture of frame 11-i again
    np.testing.assert_allclose(track.H_image[24:, 4:], track.H_image[11::-1, 4:], atol=6)


@pytest.mark.parametrize(
    "name,codec,pix_fmt,height,width",
    [
        ("one.mkv", "ffv1", "bgr0", 1, 1),
        ("line.mkv", "ffv1", "bgr0", 1, 301),
        ("odd.mkv", "ffv1", "yuv420p", 33, 47),
        ("grey.mkv", "ffv1", "gray", 48, 64),
        ("ten.mp4", "libx264", "yuv420p10le", 48, 64),
    ],
)
def test_odd_videos_without_a_face(
    run: Callable, make_clip: MakeClip, name: str, codec: str, pix_fmt: str, height: int, width: int
) -> None:
    clip = make_clip(name, still(3, height, width), codec=codec, pix_fmt=pix_fmt)
    status, _, err = run("track", clip, "-o", "out")
    assert status == 3 and "no face was found in any of 3 frames" in err.splitlines()[-1]
    assert not Path("out").exists()


def test_grey_and_ten_bit_faces_are_found(run: Callable, smile: Path, make_clip: MakeClip) -> None:
    with open_source(smile) as source:
        images = [frame.image for frame in source.frames(only=range(3))]
    greys = [image.mean(axis=-1).astype(np.uint8) for image in images]
    grey = make_clip("grey.mkv", greys, codec="ffv1", pix_fmt="gray")
    odd, ticks = [image[:357, :633] for image in images], [0, 70, 71]
    ten = make_clip("ten.mkv", odd, ticks, Fraction(1, 1000), pix_fmt="yuv444p10le")
    for clip in (grey, ten):
        assert run("track", clip, "-o", clip.stem, "--no-overlay")[0] == 0
        assert load(clip.stem).ok.all()
    np.testing.assert_allclose(load("ten").times, np.array(ticks) / 1000, atol=1e-9)


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["missing.mp4"], "no such file"),
        (["text.txt"], "text"),
        (["."], "no pictures there"),
        (["CLIP", "--start", "9"], "the clip runs"),
        (["CLIP", "--start", "-1"], "at least 0"),
        (["CLIP", "--landmarks", "dlib"], "mediapipe, fan; got 'dlib'"),
        (["CLIP", "--identity", "both"], "clip, per-frame; got 'both'"),
        (["CLIP", "--device", "tpu"], "cpu, cuda or auto; got 'tpu'"),
        (["CLIP", "--weights", "text.txt"], "not a file of I2ZNet weights"),
        (["CLIP", "-o", "text.txt"], "is not a folder"),
    ],
)
def test_bad_input_is_one_line(run: Callable, make_clip: MakeClip, arguments: list[str], words: str) -> None:
    Path("text.txt").write_text("hello\n" * 100)
    clip = make_clip("clip.mp4", still())
    status, out, err = run("track", *(clip if a == "CLIP" else a for a in arguments))
    lines = err.splitlines()
    assert status == 2 and out == "" and len(lines) == 1, err
    assert lines[0].startswith("track: ") and words in lines[0]
    assert [p.name for p in Path().iterdir()] == ["text.txt"]


def test_a_folder_of_videos_is_for_track_batch(run: Callable) -> None:
    Path("clips").mkdir()
    Path("clips/a.MP4").write_bytes(b"")
    status, _, err = run("track", "clips")
    assert status == 2 and len(err.splitlines()) == 1
    assert "no pictures there (.png, .jpg, .jpeg, .webp, .exr); track its videos with: track-batch" in err


def test_a_network_for_other_landmarks_is_refused(run: Callable, make_clip: MakeClip) -> None:
    status, _, err = run("track", make_clip("clip.mp4", still()), "--landmarks", "fan", "--weights", WEIGHTS)
    assert status == 2 and "reads 478 landmarks, but fan gives 68" in err and len(err.splitlines()) == 1


def test_earlier_results_are_refused(run: Callable, make_clip: MakeClip) -> None:
    Path("clip_track").mkdir()
    Path("clip_track/track.npz").write_bytes(b"precious")
    status, _, err = run("track", make_clip("clip.mp4", still()))
    assert status == 2 and "that this program did not write" in err
    assert Path("clip_track/track.npz").read_bytes() == b"precious"


def test_export_refuses_what_it_does_not_know(run: Callable) -> None:
    status, _, err = run("track-export", "nowhere", "--to", "vertices", "-o", "out.npz")
    assert (
        status == 2
        and "no such file or folder; make it with: track VIDEO -o nowhere" in err
        and len(err.strip().splitlines()) == 1
    )
    status, _, err = run("track-export", "nowhere", "--to", "gif", "-o", "out.gif")
    assert status == 2 and "unknown format 'gif'; known: aftereffects" in err
    assert list(Path().iterdir()) == []


def test_adapt_and_reuse(run: Callable, smile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--adapt` writes its files and one line of verdict; the clip tracked with them is the same, another one works."""
    tiny = AdaptConfig(steps=40, groups=3, texels=300, texture=64, refresh=20, evaluate=20)
    judged = verdicts._verdict  # so few steps may make nothing better
    monkeypatch.setattr(verdicts, "_verdict", lambda *args, **named: replace(judged(*args, **named), kept=True))
    monkeypatch.setattr(adaptation, "load_preset", lambda decoder=None: tiny)
    monkeypatch.setattr(Refiner, "of", lambda *_: None)  # of the network alone these steps make something better
    part = ("--duration", 0.8, "--set", "track.person.samples=4")
    status, out, _ = run("track", smile, *part, "-o", "a", "--adapt", "--overlay", "texture")
    assert status == 0 and "adapted  held-out frames: " in out
    expected = WRITTEN | {"adaptation.json", "texture.png"}
    verdict = json.loads(Path("a/adaptation.json").read_text())
    assert {p.name for p in Path("a").iterdir()} == expected | ({"adapted.safetensors"} if verdict["kept"] else set())
    assert [h["step"] for h in verdict["history"]] == [0, 20, 40] and verdict["settings"]["adapt"]["seed"] == 0
    assert verdict["kept"] and verdict["trained"]
    with safe_open("a/adapted.safetensors", "pt") as file:
        assert file.metadata()["base"] and "subject" in file.keys()
    again = ("track", smile, *part, "-o", "b", "--weights", "a/adapted.safetensors", "--no-overlay")
    assert run(*again)[0] == 0
    first, second = load("a"), load("b")
    np.testing.assert_allclose(first.z, second.z, atol=1e-3)
    np.testing.assert_allclose(first.identity, second.identity, atol=1e-6)
    assert first.inverse_distance == pytest.approx(second.inverse_distance)
    status, _, err = run("track", smile, "--weights", "a/adapted.safetensors", "--adapt")
    assert status == 2 and "have been adapted already" in err
    in_place = ("track", smile, "-o", "a", "--duration", 0.4, "--weights", "a/adapted.safetensors", "--overwrite")
    assert run(*in_place)[0] == 0 and Path("a/adapted.safetensors").exists()
    lost = smile.with_name("lost.mp4")
    short = ("--duration", 0.4, "--no-overlay")
    assert run("track", lost, "-o", "c", "--weights", "a/adapted.safetensors", *short)[0] == 0
    assert load("c").inverse_distance == 0 and np.abs(load("c").identity - first.identity).max() > 0.1


def test_adapted_weights_that_fit_another_clip_worse_are_not_used(
    run: Callable, smile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    network, fit = (
        load_network(),
        ClipFit("ab", 0, Subject(torch.zeros(112), torch.zeros(60), 0.5), log_odds=0.25),
    )
    with torch.no_grad():
        network.heads.pose[-1].bias += 0.3  # the mesh lies far off
    save_adapted(tmp_path / "spoiled.safetensors", network.heads, WEIGHTS, fit, network.config)
    kept = load_weights(tmp_path / "spoiled.safetensors").fit
    assert kept is not None and (kept.subject.inverse_distance, kept.log_odds, kept.windows) == (0.5, 0.25, ())
    short = ("track", smile, "--duration", 0.3, "--no-overlay")
    status, out, _ = run(*short, "-o", "spoiled", "--weights", "spoiled.safetensors")
    assert status == 0 and "fits this clip worse than the weights it was adapted from" in out
    assert run(*short, "-o", "plain")[0] == 0
    np.testing.assert_array_equal(load("spoiled").z, load("plain").z)


def test_key_frames_alone_say_nothing_of_another_clip(
    run: Callable, smile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    network = load_network()
    fit = ClipFit("ab", 0, Subject(torch.zeros(112), torch.zeros(60), 0.5), trained=False)
    save_adapted(tmp_path / "keys.safetensors", network.heads, WEIGHTS, fit, network.config)
    short = ("track", smile, "--duration", 0.2, "--no-overlay")
    status, out, _ = run(*short, "-o", "keyed", "--weights", "keys.safetensors")
    assert status == 0 and "keys.safetensors: holds key frames of another clip" in out
    assert run(*short, "-o", "plain")[0] == 0
    np.testing.assert_array_equal(load("keyed").z, load("plain").z)


def test_adapted_weights_of_another_base_are_refused(run: Callable, smile: Path, tmp_path: Path) -> None:
    network = load_network()
    fit = ClipFit("ab", 0, Subject(torch.zeros(112), torch.zeros(60), 0.0))
    base = tmp_path / "base.safetensors"
    base.write_bytes(WEIGHTS.read_bytes())
    save_adapted(tmp_path / "adapted.safetensors", network.heads, base, fit, network.config)
    base.write_bytes(b"something else")
    status, _, err = run("track", smile, "--weights", tmp_path / "adapted.safetensors")
    assert status == 2 and "adapt again" in err and len(err.splitlines()) == 1


def test_no_face_cannot_be_adapted_to(run: Callable, make_clip: MakeClip) -> None:
    status, _, err = run("track", make_clip("still.mp4", still()), "--adapt")
    assert status == 3 and "no face was found in any of" in err.splitlines()[-1]
    assert "more from the front" in err.splitlines()[-1] and "Traceback" not in err
    assert not Path("still_track").exists()


@pytest.mark.usefixtures("drawn_here")
def test_captures_network_and_track_with_it(run: Callable, smile: Path) -> None:
    assert run("track-train", "captures", "captures", "--people", 1, "--workers", 1)[0] == 0
    status, out, _ = run("track-train", "i2znet", "captures", "-o", "mine.safetensors", "--steps", 2)
    assert status == 0 and out.strip() == "mine.safetensors"
    assert run("track", smile, "--weights", "mine.safetensors", "--duration", 0.2, "--no-overlay")[0] == 0


def test_training_without_captures(run: Callable) -> None:
    status, _, err = run("track-train", "i2znet", "nowhere", "-o", "w.safetensors")
    assert status == 2 and "make them with: track-train captures" in err and len(err.splitlines()) == 1


def test_training_an_unknown_network(run: Callable) -> None:
    status, _, err = run("track-train", "i2znet", "nowhere", "-o", "w.safetensors", "--config", "resnet")
    assert status == 2 and "resnet" in err and "i2znet_small" in err and not Path("w.safetensors").exists()
