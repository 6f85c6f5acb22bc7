"""The score of a moved photo against the true frames."""

from pathlib import Path

import numpy as np
import pytest

from selftrack.errors import NoFaceError
from selftrack.eval import reenactment
from selftrack.tracker import load
from selftrack.tracker.model import Model
from selftrack.tracker.results.clip import read_rows


def test_errors_are_those_of_the_pixels_that_count() -> None:
    truth = np.full((40, 60, 3), 100, np.uint8)
    picture, inside = truth.copy(), np.zeros((40, 60), bool)
    inside[10:20, 10:30] = True
    picture[inside] = 151  # 0.2 of the range, over a twelfth of the frame
    one = reenactment._score(reenactment._sums(picture, truth, inside), 1, 0.0)
    assert one.face_psnr == pytest.approx(-20 * np.log10(0.2), abs=0.01)
    assert one.frame_psnr == pytest.approx(-10 * np.log10(0.04 / 12), abs=0.01)
    same = reenactment._score(reenactment._sums(truth, truth, inside), 1, 0.0)
    assert same.face_ssim == same.frame_ssim == pytest.approx(1) and same.face_psnr > 80


def test_the_bundled_clip_gets_nearer_to_its_frames(plain_folder: Path) -> None:
    track = load(plain_folder)
    scores = reenactment.score(track, Model.load(device="cpu"), frames=2)
    copied, moved = (scores[method] for method in reenactment.METHODS)
    assert copied.frames == moved.frames == 2
    assert moved.face_psnr > copied.face_psnr + 2 and moved.face_ssim > copied.face_ssim
    rows = [0, 20, 39]
    first, *others = (frame.image / 255 for frame in read_rows(track, set(rows)))
    error = np.mean([np.mean((other - first) ** 2) for other in others])
    assert copied.frame_psnr == pytest.approx(-10 * np.log10(error), abs=0.6)  # rows are those or beside them
    text = reenactment.table({"smile": scores})
    assert "| smile |" in text and "copied source" in text and len(text.splitlines()) == 4


def test_a_clip_that_begins_without_a_face_is_refused(plain_folder: Path) -> None:
    from dataclasses import replace

    track = load(plain_folder)
    late = replace(track, ok=np.arange(len(track)) > 3)
    with pytest.raises(NoFaceError, match="no face in its first frame, which is to be the photo"):
        reenactment.score(late, Model.load(device="cpu"), frames=2)
