"""No code reaches the actors' shapes."""

from __future__ import annotations

import numpy as np
import pytest

from selftrack.decoders.head.model import load_head
from selftrack.synthetic.people import OffBasis, face_vertices, smooth_field

HEAD = load_head()


def test_off_basis_shapes_have_their_size_and_no_code_reaches_them() -> None:
    off = OffBasis(HEAD)
    shape = off(np.random.default_rng(0), 1e-3)
    face = face_vertices(HEAD)
    assert np.sqrt((shape[face] ** 2).sum(1).mean()) == pytest.approx(1e-3)
    # least squares with another solver, codes and rigid motion and scale free
    w = off.weight
    rest = np.linalg.lstsq(w[:, None] * off.basis, w * shape.ravel(), rcond=None)[0]
    assert np.abs(off.basis @ rest).max() < 1e-6
    # over the face alone, where a code may trade the back of the head for it, most of it stays
    rows = np.repeat(face, 3)
    code = np.linalg.lstsq(off.basis[rows], shape.ravel()[rows], rcond=None)[0]
    left = (shape.ravel() - off.basis @ code)[rows]
    assert np.sqrt((left**2).sum() / face.sum()) > 0.5e-3


def test_off_basis_shapes_are_smooth() -> None:
    points = np.random.default_rng(1).uniform(-0.1, 0.1, (400, 3))
    field = smooth_field(np.random.default_rng(2), points, 0.02)
    near = smooth_field(np.random.default_rng(2), points + [0.001, 0, 0], 0.02)
    assert np.sqrt((field**2).mean()) == pytest.approx(1, rel=0.2)
    # of a Gaussian process with this kernel, the mean square of the change is 2 (1 - exp(-d^2 / 2 l^2))
    assert ((field - near) ** 2).mean() == pytest.approx(2 * (1 - np.exp(-(0.05**2) / 2)), rel=0.4)


def test_the_face_is_the_front_of_the_skin() -> None:
    face = face_vertices(HEAD)
    nose = int(HEAD.mean[:, 2].argmin())
    back = int(HEAD.mean[:, 2].argmax())
    assert face[nose] and not face[back] and 800 < face.sum() < 2500
    eyes = HEAD.faces[HEAD.face_parts == HEAD.part_names.index("eye_left")].unique().numpy()
    assert not face[eyes].any()
