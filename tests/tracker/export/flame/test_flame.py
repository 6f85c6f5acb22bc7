"""FLAME: a random model of its layout, its files read without running them, and known parameters found again."""

import io
import json
import os
import pickle
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import scipy.sparse
from scipy.spatial.transform import Rotation

from selftrack.errors import UserError
from selftrack.tracker.export import ExportOptions, require, write
from selftrack.tracker.export.flame._files import read_arrays
from selftrack.tracker.export.flame._fit import fit
from selftrack.tracker.export.flame._model import FlameLandmarks
from selftrack.tracker.export.tables.openface import landmarks68
from selftrack.tracker.geometry.camera import AXES, camera_pose, focal_length
from selftrack.tracker.results.track_file import Track

VERTICES, TRIANGLES = 5023, 9976
PARENTS = [2**32 - 1, 0, 1, 1, 1]  # as FLAME's file has it


@dataclass(frozen=True)
class Flame:
    """A made-up model and its files."""

    arrays: dict[str, np.ndarray]
    faces: np.ndarray  # (68,) triangles of the landmarks
    inside: np.ndarray  # (68,3)
    model: Path
    landmarks: Path

    def vertices(self, shape, expression, rotation, jaw, eyes, translation) -> np.ndarray:
        """FLAME written out in NumPy, all its vertices: shapes, pose corrections, and skinning by 4x4 matrices."""
        a = self.arrays
        full = a["v_template"] + np.einsum("vck,k->vc", a["shapedirs"], np.concatenate([shape, expression]))
        joints = a["J_regressor"] @ full
        turns = Rotation.from_rotvec(np.stack([rotation, np.zeros(3), jaw, eyes[:3], eyes[3:]])).as_matrix()
        full = full + np.einsum("vck,k->vc", a["posedirs"], (turns[1:] - np.eye(3)).ravel())
        world: list[np.ndarray] = []
        for joint in range(5):
            local = np.eye(4)
            local[:3, :3], local[:3, 3] = turns[joint], joints[joint] - (joints[PARENTS[joint]] if joint else 0)
            world.append(world[PARENTS[joint]] @ local if joint else local)
        moves = []
        for joint in range(5):
            back = np.eye(4)
            back[:3, 3] = -joints[joint]
            moves.append(world[joint] @ back)
        skinned = np.einsum("vj,jab->vab", a["weights"], np.stack(moves))
        return np.einsum("vab,vb->va", skinned, np.c_[full, np.ones(len(full))])[:, :3] + translation

    def points(self, **parameters: np.ndarray) -> np.ndarray:
        """Its 68 landmarks (68,3)."""
        corners = self.vertices(**parameters)[self.arrays["f"][self.faces]]
        return (corners * self.inside[..., None]).sum(1)


@pytest.fixture(scope="module")
def flame(tmp_path_factory: pytest.TempPathFactory, head_points: np.ndarray) -> Flame:
    """The landmarks are near those of our head; other vertices and all directions are random, smaller and smaller."""
    rng = np.random.default_rng(0)
    faces, inside = np.arange(68), rng.dirichlet([5, 5, 5], 68)
    template = rng.uniform(-0.1, 0.1, (VERTICES, 3))
    template[: 3 * 68] = np.repeat(head_points, 3, 0) + rng.normal(0, 0.003, (204, 3))
    triangles = rng.integers(0, VERTICES, (TRIANGLES, 3))
    triangles[:68] = np.arange(204).reshape(68, 3)
    falling = np.r_[0.004 * 0.97 ** np.arange(300), 0.003 * 0.93 ** np.arange(100)]
    smooth = rng.normal(size=(68, 3, 400)).repeat(3, 0)
    directions = rng.normal(size=(VERTICES, 3, 400))
    directions[:204] = smooth
    weights = rng.dirichlet([1, 1, 1, 0.1, 0.1], VERTICES)
    weights[:204] = np.eye(5)[1]
    chin = head_points[:, 1] < np.median(head_points[:, 1]) - 0.02
    weights[:204][np.repeat(chin, 3)] = np.eye(5)[2]
    regressor = np.zeros((5, VERTICES))
    regressor[np.arange(5).repeat(20), rng.integers(0, VERTICES, 100)] = 0.05
    arrays = {
        "v_template": template,
        "shapedirs": directions * falling,
        "posedirs": rng.normal(0, 2e-4, (VERTICES, 3, 36)),
        "weights": weights,
        "J_regressor": regressor,
        "kintree_table": np.array([PARENTS, range(5)]),
        "f": triangles.astype(np.uint32),
    }
    folder = tmp_path_factory.mktemp("flame")
    np.savez(folder / "model.npz", **arrays)
    np.savez(folder / "landmarks.npz", full_lmk_faces_idx=faces[None], full_lmk_bary_coords=inside[None])
    return Flame(arrays, faces, inside, folder / "model.npz", folder / "landmarks.npz")


@pytest.fixture(scope="module")
def head_points() -> np.ndarray:
    """The 68 points of our mean head, y up."""
    from selftrack.decoders.head.model import load_head

    head = load_head()
    return head.landmarks68(head.mean[None])[0].numpy() * AXES


def known(count: int) -> dict[str, np.ndarray]:
    """Parameters of some frames, within their bounds."""
    rng = np.random.default_rng(1)
    return {
        "shape": 0.7 * rng.normal(size=300).clip(-2, 2),
        "expression": 0.7 * rng.normal(size=(count, 100)).clip(-2, 2),
        "rotation": rng.normal(0, 0.3, (count, 3)),
        "jaw": np.c_[np.linspace(0, 0.5, count), np.zeros((count, 2))],
        "eyes": rng.normal(0, 0.2, (count, 6)),
        "translation": rng.normal([0, 0, -0.8], 0.05, (count, 3)),
    }


def of_frame(parameters: dict[str, np.ndarray], i: int) -> dict[str, np.ndarray]:
    return {name: values if name == "shape" else values[i] for name, values in parameters.items()}


def test_the_model_is_flames(flame: Flame) -> None:
    """Against the same written out for all vertices."""
    import torch

    ours, parameters = FlameLandmarks.read(flame.model, flame.landmarks), of_frame(known(3), 2)
    betas = torch.from_numpy(np.concatenate([parameters["shape"], parameters["expression"]]))
    turns = np.stack([parameters["rotation"], np.zeros(3), parameters["jaw"], *parameters["eyes"].reshape(2, 3)])
    placed = ours(betas, torch.from_numpy(turns), torch.from_numpy(parameters["translation"]))
    np.testing.assert_allclose(placed.numpy(), flame.points(**parameters), atol=1e-9)


def test_known_parameters_are_found_again(flame: Flame) -> None:
    """Landmarks to a third of a millimetre; what they determine - pose, jaw, the large coefficients - with them."""
    truth = known(6)
    points = np.stack([flame.points(**of_frame(truth, i)) for i in range(6)])
    found = fit(FlameLandmarks.read(flame.model, flame.landmarks), points, truth["eyes"])
    again = [
        flame.points(
            shape=found.shape,
            expression=found.expression[i],
            rotation=found.rotation[i],
            jaw=found.jaw[i],
            eyes=found.eyes[i],
            translation=found.translation[i],
        )
        for i in range(6)
    ]
    away = np.linalg.norm(np.stack(again) - points, axis=-1)
    np.testing.assert_allclose(found.error, np.sqrt((away[:, 17:] ** 2).mean(1)), rtol=1e-6)
    assert np.sqrt((away[:, 17:] ** 2).mean()) < 3e-4
    assert np.abs(found.jaw[:, 0] - truth["jaw"][:, 0]).max() < 0.06
    off = Rotation.from_rotvec(found.rotation).inv() * Rotation.from_rotvec(truth["rotation"])
    assert off.magnitude().max() < np.radians(3)
    assert np.corrcoef(found.shape[:20], truth["shape"][:20])[0, 1] > 0.9
    assert np.corrcoef(found.expression[:, :10].ravel(), truth["expression"][:, :10].ravel())[0, 1] > 0.85
    assert np.abs(found.shape).max() <= 3 and np.abs(found.expression).max() <= 3


def test_the_folder_of_gaussian_avatars(flame: Flame, make_track: Callable[..., Track], tmp_path: Path) -> None:
    """Each frame's parameters through its camera: the landmarks where the track has them; lost frames are left out."""
    curves = {"jawOpen": np.linspace(0, 0.6, 5), "eyeLookUpLeft": 0.3, "eyeLookUpRight": 0.3}
    track = make_track(np.arange(5) / 25, curves, lost=[1], ry=0.2, tx=280.0)
    options = ExportOptions(flame=flame.model, flame_landmarks=flame.landmarks)
    with ZipFile(write(track, "flame", tmp_path / "a.zip", options)) as archive:
        assert {member.external_attr >> 16 & 0o777 for member in archive.infolist()} == {0o644}
        names, jsons = archive.namelist(), [name for name in archive.namelist() if name.endswith("json")]
        read = {name: json.loads(archive.read(name)) for name in jsons}
        params = [dict(np.load(io.BytesIO(archive.read(f"flame_param/{i:05d}.npz")))) for i in range(4)]
    assert "flame_param/00004.npz" not in names and "canonical_flame_param.npz" in names
    shapes = {name: values.shape for name, values in params[0].items()}
    assert shapes == {
        "translation": (1, 3),
        "rotation": (1, 3),
        "neck_pose": (1, 3),
        "jaw_pose": (1, 3),
        "eyes_pose": (1, 6),
        "shape": (300,),
        "expr": (1, 100),
        "static_offset": (1, 5143, 3),
    }
    assert [len(read[f"transforms_{part}.json"]["frames"]) for part in ("train", "val", "test")] == [3, 0, 1]
    assert read["fit.json"]["rows"] == [0, 2, 3, 4]
    focal = focal_length(track)
    turn, place = camera_pose(track, focal)
    for i, frame in enumerate(read["transforms.json"]["frames"]):
        p = params[i]
        mine = flame.points(
            shape=p["shape"],
            expression=p["expr"][0],
            rotation=p["rotation"][0],
            jaw=p["jaw_pose"][0],
            eyes=p["eyes_pose"][0],
            translation=p["translation"][0],
        )
        seen = (np.linalg.inv(frame["transform_matrix"]) @ np.c_[mine, np.ones(68)].T)[:3].T * AXES
        row = read["fit.json"]["rows"][i]
        expected = landmarks68(track)[0][row] @ turn[row].T + place[row]
        away = np.linalg.norm(seen - expected, axis=1)[17:]
        assert 1000 * np.sqrt((away**2).mean()) == pytest.approx(read["fit.json"]["landmarks_mm"][i], abs=0.05)
        assert read["fit.json"]["landmarks_mm"][i] < 3
        assert frame["fl_x"] == focal and frame["camera_angle_x"] == pytest.approx(2 * np.arctan(320 / focal))
    assert params[0]["eyes_pose"][0, 0] < -0.05 and params[0]["eyes_pose"][0, 3] < -0.05, "about x, up is negative"


@pytest.fixture
def chumpy(monkeypatch: pytest.MonkeyPatch) -> type:
    """A class that pickles as chumpy's variables do."""

    class Ch:
        def __init__(self, x: np.ndarray) -> None:
            self.x = x

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    package, module = types.ModuleType("chumpy"), types.ModuleType("chumpy.ch")
    module.Ch = Ch
    monkeypatch.setitem(sys.modules, "chumpy", package)
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    return Ch


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_of_chumpy_and_sparse_arrays(flame: Flame, chumpy: type, tmp_path: Path, protocol: int) -> None:
    arrays = {name: values.astype(np.float32) for name, values in flame.arrays.items() if values.size < 20_000}
    content = {name: chumpy(values) for name, values in arrays.items()} | {"bs_style": "lbs"}
    content["J_regressor"] = scipy.sparse.csc_matrix(flame.arrays["J_regressor"])
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
    del sys.modules["chumpy.ch"], sys.modules["chumpy"]
    read = read_arrays(tmp_path / "a.pkl", "a file")
    assert set(read) == set(arrays) | {"J_regressor"}
    for name, values in arrays.items():
        np.testing.assert_array_equal(read[name], values)
    np.testing.assert_array_equal(read["J_regressor"], flame.arrays["J_regressor"])


def test_landmarks_as_npy_of_one_object(tmp_path: Path) -> None:
    content = {"lmk_face_idx": np.arange(51), "lmk_b_coords": np.full((51, 3), 1 / 3)}
    np.save(tmp_path / "a.npy", np.array(content, dtype=object), allow_pickle=True)
    read = read_arrays(tmp_path / "a.npy", "a file")
    np.testing.assert_array_equal(read["lmk_face_idx"], np.arange(51))
    assert read["lmk_b_coords"].shape == (51, 3)


class Hostile:
    """Would make a file when it is read."""

    def __init__(self, call: Callable, *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple:
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("call", [os.system, eval, exec, getattr, __import__, np.load], ids=lambda f: f.__name__)
def test_a_hostile_pickle_is_refused(tmp_path: Path, call: Callable, protocol: int) -> None:
    """Also in an .npy; nothing of it runs."""
    hostile = pickle.dumps({"v_template": Hostile(call, f"touch {tmp_path}/owned")}, protocol)
    header = io.BytesIO()
    np.save(header, np.array(None, dtype=object), allow_pickle=True)
    (tmp_path / "a.pkl").write_bytes(hostile)
    (tmp_path / "a.npy").write_bytes(header.getvalue()[:128] + hostile)
    for name in ("a.pkl", "a.npy"):
        with pytest.raises(UserError, match="holds more than arrays .*, and is not read; name a file") as refused:
            read_arrays(tmp_path / name, "a file")
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "owned").exists()


def test_files_that_are_something_else(flame: Flame, make_track: Callable[..., Track], tmp_path: Path) -> None:
    (tmp_path / "text.pkl").write_text("no pickle")
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps({"a": np.arange(9.0)})[:-9])
    np.savez(tmp_path / "small.npz", v_template=np.zeros((5, 3)))
    np.savez(tmp_path / "many.npz", lmk_face_idx=np.arange(40), lmk_b_coords=np.ones((40, 3)))
    track = make_track([0.0])
    for model, landmarks, words in (
        (tmp_path / "nowhere.pkl", flame.landmarks, "No such file"),
        (tmp_path / "text.pkl", flame.landmarks, "name FLAME's model"),
        (tmp_path / "cut.pkl", flame.landmarks, "name FLAME's model"),
        (tmp_path / "small.npz", flame.landmarks, "shapedirs must be"),
        (flame.model, tmp_path / "small.npz", "holds no landmarks"),
        (flame.model, tmp_path / "many.npz", "51 or 68"),
    ):
        with pytest.raises(UserError, match=words) as refused:
            write(track, "flame", tmp_path / "a.zip", ExportOptions(flame=model, flame_landmarks=landmarks))
        assert "\n" not in str(refused.value) and not (tmp_path / "a.zip").exists()
    with pytest.raises(UserError, match="needs --flame FILE and --flame-landmarks FILE, an option of track-export"):
        require(["flame"], track.model())
