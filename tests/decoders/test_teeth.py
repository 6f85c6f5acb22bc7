"""The head's teeth against anatomy, and how they are drawn against known geometry."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import load_head
from selftrack.decoders.landmarks import INNER_LIPS
from selftrack.decoders.teeth import TEETH, Teeth, front_teeth, row_of

HEAD = load_head()
ROWS = Teeth(HEAD)
FRONT = float(HEAD.mean[row_of(HEAD, "teeth_upper"), 2].min())
EDGE = float(HEAD.mean[row_of(HEAD, "teeth_upper"), 1].max())


def jaw(value: float) -> Tensor:
    """The mean head (1,V,3) with its jaw so far open."""
    z = torch.zeros(1, HEAD.size)
    z[0, HEAD.expression.start + ARKIT_NAMES.index("jawOpen")] = value
    return HEAD.geometry(z)


def drop(metres: float) -> Tensor:
    """The mean head (1,V,3) with its lower teeth so far below the edges of the upper ones."""
    down = float(ROWS.apart(jaw(1.0)) - ROWS.apart(jaw(0.0)))  # of a jaw that is fully open
    return jaw((metres - float(ROWS.apart(jaw(0.0)))) / down)


def test_upper_incisors_overlap_the_lower_ones_as_a_persons_do() -> None:
    overlap = -float(ROWS.apart(HEAD.mean[None]))
    upper, lower = (HEAD.mean[front_teeth(HEAD, name)[0]].mean(0) for name in TEETH)
    assert 0.001 < overlap < 0.0031 and 0 < float(lower[2] - upper[2]) < 0.002
    assert overlap == pytest.approx(float(upper[1] - lower[1]), abs=2e-4)
    lips = HEAD.landmarks478(HEAD.mean[None])[0, list(INNER_LIPS)]
    assert 0.001 < float(upper[1] - lips[:, 1].mean()) < 0.004  # what shows of them between parted lips
    assert float(upper[2] - lips[:, 2].min()) > 0.005  # behind the lips


def test_the_jaw_parts_the_teeth() -> None:
    assert abs(float(ROWS.apart(jaw(0.1)))) < 0.001  # edge to edge
    assert float(ROWS.apart(jaw(1.0))) > 0.02


@pytest.mark.parametrize("gap", [0.0, 0.001, 0.0024])
def test_teeth_that_nearly_meet_do(gap: float) -> None:
    before = drop(gap)
    after = ROWS.closed(before)
    assert float(ROWS.apart(before)) == pytest.approx(gap, abs=1e-6)
    assert -0.001 < float(ROWS.apart(after)) < 0
    others = torch.ones(len(HEAD.mean), dtype=torch.bool)
    others[row_of(HEAD, "teeth_lower")] = False
    assert torch.equal(after[:, others], before[:, others])


@pytest.mark.parametrize("gap", [-0.002, 0.0071, 0.02])
def test_teeth_that_overlap_or_are_apart_stay_at_their_height(gap: float) -> None:
    assert float(ROWS.apart(ROWS.closed(drop(gap)))) == pytest.approx(gap, abs=1e-5)


def test_a_wider_gap_stays_wider() -> None:
    gaps = torch.linspace(-0.004, 0.012, 60)
    after = torch.stack([ROWS.apart(ROWS.closed(drop(float(gap))))[0] for gap in gaps])
    assert (after.diff() > -1e-6).all() and after.diff().max() < 3 * float(gaps.diff()[0])


def test_teeth_close_alike_in_every_picture() -> None:
    turn = torch.from_numpy(Rotation.from_euler("xyz", [0.3, -0.5, 0.2]).as_matrix()).float()
    before = drop(0.003)
    moved = 900 * before @ turn.T + torch.tensor([200.0, 100.0, 0.0])
    expected = 900 * ROWS.closed(before) @ turn.T + torch.tensor([200.0, 100.0, 0.0])
    torch.testing.assert_close(ROWS.closed(moved), expected, atol=2e-3, rtol=0)
    assert float(ROWS.apart(moved)) == pytest.approx(0.003, abs=1e-6)


def test_no_lip_bares_the_gum_below_the_teeth() -> None:
    z = torch.zeros(1, HEAD.size)
    for name in ("mouthLowerDownLeft", "mouthLowerDownRight"):
        z[0, HEAD.expression.start + ARKIT_NAMES.index(name)] = 1.5
    bared = HEAD.geometry(z)
    lip = HEAD.landmarks478(bared)[0, INNER_LIPS[1], 1]
    edge = front_teeth(HEAD, "teeth_lower")[0]
    before, after = (float(lip - mesh[0, edge, 1].mean()) for mesh in (bared, ROWS.closed(bared)))
    assert before > 0.0095 and after == pytest.approx(0.008, abs=5e-4)  # along the teeth, which lean


def test_a_face_at_rest_has_its_teeth_shut() -> None:
    rest = torch.zeros(len(ARKIT_NAMES))
    rest[ARKIT_NAMES.index("jawOpen")] = 0.15
    resting = HEAD.resting(rest)
    expected = float(ROWS.apart(HEAD.mean[None]))
    assert float(Teeth(resting).apart(resting.mean[None])) == pytest.approx(expected, abs=1e-6)
    skin = HEAD.faces[HEAD.face_parts == HEAD.part_names.index("head")].unique()
    assert torch.equal(resting.mean[skin], jaw(0.15)[0, skin])


def test_teeth_meet_at_the_middle_and_have_gum_above() -> None:
    crown, gum = EDGE - 0.004, EDGE - 0.016
    points = torch.tensor([[0.0, crown, FRONT], [0.004, crown, FRONT], [0.0085, crown, FRONT], [0.004, gum, FRONT]])
    light = ROWS.light("teeth_upper", points)
    middle, tooth, gap, above = light.mean(1)
    assert middle < 0.97 * tooth and gap < 0.97 * tooth and above < 0.8 * tooth
    assert light[3, 0] > 1.5 * light[3, 1]  # red


def test_teeth_get_darker_towards_the_back() -> None:
    row = HEAD.mean[row_of(HEAD, "teeth_upper")]
    edges = row[row[:, 1] > EDGE - 0.004]
    light = ROWS.light("teeth_upper", edges).mean(1)[edges[:, 2].argsort()]
    assert light[0] > 0.8 and light[-1] < 0.1


def test_far_teeth_are_warm_and_not_grey() -> None:
    """What gets to them comes off lips and cheeks."""
    along = torch.tensor([0.0, 0.026, -0.026])
    front, right, left = ROWS.light("teeth_upper", ROWS.unrolled("teeth_upper", along, torch.full((3,), EDGE - 0.004)))
    assert float(front[0] / front[2]) == pytest.approx(1, abs=0.02)
    torch.testing.assert_close(left, right)
    assert left[0] > 1.1 * left[1] > 1.1 * 1.02 * left[2] and left[0] > 0.4


def test_a_line_that_is_finer_than_a_pixel_takes_as_much_light_as_it_does() -> None:
    along = torch.linspace(-0.0035, 0.0035, 701)
    points = torch.stack([along, torch.full_like(along, EDGE - 0.005), torch.full_like(along, FRONT)], 1)
    fine, coarse = (1 - ROWS.light("teeth_upper", points, pixel).mean(1) for pixel in (0.0, 0.001))
    assert coarse.max() < 0.6 * fine.max()
    assert float(coarse.sum()) == pytest.approx(float(fine.sum()), rel=0.05)


@pytest.mark.parametrize("name", TEETH)
def test_no_line_runs_along_the_middle_of_the_head(name: str) -> None:
    """Where x is 0 exactly, and the teeth meet no longer, the back of a row was as dark as a gap."""
    behind = torch.linspace(0.002, 0.006, 5)
    middle = HEAD.mean[row_of(HEAD, name)][:, 1:].mean(0)
    points = torch.stack([torch.zeros(5), middle[0].expand(5), HEAD.mean[row_of(HEAD, name), 2].min() + behind], 1)
    light = ROWS.light(name, points)
    for aside in (-1e-6, 1e-6):
        torch.testing.assert_close(ROWS.light(name, points + torch.tensor([aside, 0, 0])), light, atol=1e-4, rtol=0)
