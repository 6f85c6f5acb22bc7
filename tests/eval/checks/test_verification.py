"""Verification: closed forms of its figures, and people who were drawn."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.stats import norm

from selftrack.errors import UserError
from selftrack.eval.checks.verification import COVERED, cover, main, pairs, verify
from selftrack.tracker.identity.descriptor import places


def test_figures_of_normal_distances() -> None:
    """Two normal distributions d standard deviations apart: AUC is Phi(d/sqrt 2), the equal error rate Phi(-d/2)."""
    at = norm.ppf((np.arange(20000) + 0.5) / 20000)
    for d in (0.5, 1.0, 2.0):
        found = verify(at, at + d)
        expected = norm.cdf(d / np.sqrt(2)), norm.cdf(-d / 2), d / 2
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_figures_of_few_distances() -> None:
    """Against all pairs of pairs, with ties."""
    rng = np.random.default_rng(0)
    same, other = rng.integers(0, 6, 15) / 10, rng.integers(3, 9, 20) / 10
    nearer = (same[:, None] < other).mean() + (same[:, None] == other).mean() / 2
    assert verify(same, other).auc == pytest.approx(nearer)
    assert verify(np.array([0.1, 0.2]), np.array([0.5, 0.6])) == pytest.approx((1, 0, 0.2))
    with pytest.raises(ValueError, match="0 of one person and 2 of two"):
        verify(np.empty(0), np.ones(2))


def test_pairs_of_people() -> None:
    line = np.zeros((4, 128))
    line[:, 0] = 0, 1, 10, 14
    same, other = pairs(line, np.array([0, 0, 1, 1]))
    assert sorted(same) == [1, 4] and sorted(other) == [9, 10, 13, 14]


def test_boxes_lie_on_their_parts() -> None:
    picture = np.full((150, 150, 3), 200, np.uint8)
    (right, left, mouth), hidden = places(), [cover(picture, part)[..., 0] == 0 for part in COVERED]
    nose = ((right + left) / 2 + mouth) / 2
    seen_at = [[bool(part[round(y), round(x)]) for x, y in (right, left, nose, mouth)] for part in hidden]
    assert seen_at == [[False] * 4, [True, True, False, False], [False, False, True, False], [False] * 3 + [True]]
    assert len({int(part.sum()) for part in hidden[1:]}) == 1 and (picture == 200).all()


def test_people_who_were_drawn(tmp_path: Path, drawn_person: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1, 3, 4, 6):
        (tmp_path / f"person{seed}").mkdir()
        for row, picture in enumerate(drawn_person(seed, 3)):
            cv2.imwrite(str(tmp_path / f"person{seed}" / f"{row}.png"), picture[..., ::-1])
    cv2.imwrite(str(tmp_path / "person0" / "none.png"), np.full((100, 100, 3), 90, np.uint8))
    (tmp_path / "person0" / "read me.txt").write_text("no picture")
    main(tmp_path)
    first, _, *table = capsys.readouterr().out.splitlines()
    assert first.endswith("1 pictures without a face were left out") and " faces of 5 people: " in first
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[2:]]
    assert [row[0] for row in rows] == list(COVERED)
    whole = [float(cell) for cell in rows[0][1:]]
    assert whole[0] < whole[1] and whole[2] > 0.75 and whole[3] < 35


def test_photos_that_do_not_suffice(tmp_path: Path, drawn_person: Callable) -> None:
    with pytest.raises(UserError, match="no such folder; name one that has a folder of photos for each person"):
        main(tmp_path / "nobody")
    (tmp_path / "one").mkdir()
    cv2.imwrite(str(tmp_path / "one" / "a.png"), drawn_person(4)[0][..., ::-1])
    with pytest.raises(UserError, match="faces of 1 people were found; a folder for each of two or more is needed"):
        main(tmp_path)
