"""`faces.png`: pictures under their numbers."""

from pathlib import Path

import cv2
import numpy as np

from selftrack.tracker.landmarks.cast import CastFace
from selftrack.tracker.results.faces import contact_sheet, write_faces


def face(colours: list[int]) -> CastFace:
    samples = tuple((np.full((256, 256, 3), colour, np.uint8), np.zeros((478, 2))) for colour in colours)
    return CastFace(samples, (0.5, 2.0), 40.0, seen=1.5)


def test_a_row_of_pictures_for_each_face(tmp_path: Path) -> None:
    """Five of them, spread over the samples; a face with fewer has fewer."""
    faces = [face(list(range(0, 220, 20))), face([100, 200])]
    sheet = contact_sheet(faces)
    assert sheet.shape == (2 * (28 + 160), 800, 3)
    middle = [int(sheet[28 + 80, 80 + 160 * k, 0]) for k in range(5)]
    assert middle[0] == 0 and middle[-1] == 200 and np.all(np.diff(middle) > 0)
    assert [int(sheet[188 + 28 + 80, 80 + 160 * k, 0]) for k in range(5)] == [100, 200, 255, 255, 255]
    assert sheet[:28].min() < 128 < sheet[:28].mean()  # words
    written = cv2.imread(str(write_faces(faces, tmp_path)))[..., ::-1]
    np.testing.assert_array_equal(written, sheet)
