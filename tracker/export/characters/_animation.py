"""One more animation in a .glb that is not ours; everything else in the file stays as it is.

The container is that of the glTF 2.0 specification, 4: a header, a chunk of JSON and one of binary data.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from selftrack.decoders.rigs.character import Character
from selftrack.tracker.geometry.camera import quaternions

_MAGIC, _JSON, _BINARY = 0x46546C67, 0x4E4F534A, 0x004E4942
_FLOAT = 5126
_HEAD = re.compile(r"(^|[^a-z])head($|[^a-z])", re.IGNORECASE)


def animated(character: Character, name: str, times: np.ndarray, weights: np.ndarray, turns: np.ndarray) -> bytes:
    """Add an animation to a character's .glb.

    Args:
        character: whose shapes are keyed on every mesh that has them.
        name: of the animation.
        times: (T,) seconds.
        weights: (T,K) of the shapes, by the character's names.
        turns: (T,3,3) of the head, axes of the head frame.
    """
    file = _Glb(character.source)
    nodes, meshes = file.document.get("nodes", []), file.document.get("meshes", [])
    keys = file.floats(times)
    channels = []
    for index, node in enumerate(nodes):
        names = _targets(meshes[node["mesh"]]) if "mesh" in node else []
        if names:
            columns = [character.mesh.names.index(one) if one in character.mesh.names else -1 for one in names]
            padded = np.concatenate([weights, np.zeros((len(weights), 1))], 1)
            channels.append((index, "weights", padded[:, columns].reshape(-1)))
    to_head = character.to_head[:3, :3] / np.cbrt(np.linalg.det(character.to_head[:3, :3]))
    world = to_head.T @ turns @ to_head
    neck = np.linalg.solve(character.to_head, np.append(character.places(character.mesh.neutral).mean(0), 1))[:3]
    for index, parent, pivot in _turned(nodes, file.document, neck):
        channels += _turning(nodes[index], index, parent, pivot, world)
    samplers, targets = [], []
    for index, path, values in channels:
        samplers.append({"input": keys, "output": file.floats(values), "interpolation": "LINEAR"})
        targets.append({"sampler": len(samplers) - 1, "target": {"node": index, "path": path}})
    file.document.setdefault("animations", []).append({"name": name, "channels": targets, "samplers": samplers})
    return file.bytes()


class _Glb:
    """A .glb whose JSON may be changed, and to whose binary data more is added."""

    def __init__(self, data: bytes) -> None:
        magic, _, _ = struct.unpack_from("<III", data)
        assert magic == _MAGIC, "a character's source is a .glb"
        chunks, at = {}, 12
        while at < len(data):
            length, kind = struct.unpack_from("<II", data, at)
            chunks[kind] = data[at + 8 : at + 8 + length]
            at += 8 + length
        self.document: dict[str, Any] = json.loads(chunks[_JSON])
        buffers = self.document.setdefault("buffers", [])
        self._own = bool(buffers) and "uri" not in buffers[0]
        self._start = buffers[0]["byteLength"] if self._own else 0
        self._blob = bytearray(chunks.get(_BINARY, b"")[: self._start])
        self._buffer = 0 if self._own else len(buffers)

    def floats(self, values: np.ndarray) -> int:
        """Add an accessor of (N,) scalars or (N,C) vectors, as float32; its number."""
        columns = np.asarray(values, "<f4").reshape(len(values), -1)
        self._blob += b"\0" * (-len(self._blob) % 4)
        views, accessors = (self.document.setdefault(name, []) for name in ("bufferViews", "accessors"))
        views.append({"buffer": self._buffer, "byteOffset": len(self._blob), "byteLength": columns.nbytes})
        self._blob += columns.tobytes()
        accessors.append(
            {
                "bufferView": len(views) - 1,
                "componentType": _FLOAT,
                "count": len(columns),
                "type": "SCALAR" if values.ndim == 1 else f"VEC{columns.shape[1]}",
                "min": columns.min(0).tolist(),
                "max": columns.max(0).tolist(),
            }
        )
        return len(accessors) - 1

    def bytes(self) -> bytes:
        """The file."""
        buffers = self.document["buffers"]
        if self._own:
            buffers[0]["byteLength"] = len(self._blob)
        else:  # the binary chunk can be the first buffer alone, and that one lies elsewhere
            uri = "data:application/octet-stream;base64," + base64.b64encode(self._blob).decode()
            buffers.append({"byteLength": len(self._blob), "uri": uri})
        text = json.dumps(self.document, separators=(",", ":")).encode()
        chunks = [(_JSON, text + b" " * (-len(text) % 4))]
        if self._own:
            chunks.append((_BINARY, bytes(self._blob) + b"\0" * (-len(self._blob) % 4)))
        body = b"".join(struct.pack("<II", len(data), kind) + data for kind, data in chunks)
        return struct.pack("<III", _MAGIC, 2, 12 + len(body)) + body


def _targets(mesh: dict[str, Any]) -> list[str]:
    """Names of a mesh's morph targets, as `decoders.rigs.gltf.target_names`."""
    count = len(mesh["primitives"][0].get("targets", []))
    names = (mesh.get("extras") or {}).get("targetNames") or []
    return [str(names[k]) if k < len(names) else f"{mesh.get('name') or 'mesh'}_{k}" for k in range(count)]


def _matrix(node: dict[str, Any]) -> np.ndarray:
    """A node's own matrix (4,4)."""
    if "matrix" in node:
        return np.array(node["matrix"], float).reshape(4, 4).T
    matrix = np.eye(4)
    turn = Rotation.from_quat(node.get("rotation", [0.0, 0.0, 0.0, 1.0])).as_matrix()
    matrix[:3, :3] = turn * np.array(node.get("scale", [1.0, 1.0, 1.0]))
    matrix[:3, 3] = node.get("translation", [0.0, 0.0, 0.0])
    return matrix


def _turned(
    nodes: list[dict[str, Any]], document: dict[str, Any], neck: np.ndarray
) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Which nodes turn like the head: index, the world's matrix (4,4) of the parent, and the point (3,) of the world
    that stays. The joint that is called head; else, in a file without joints, all that have a mesh."""
    above = {child: index for index, node in enumerate(nodes) for child in node.get("children", [])}

    def world(index: int | None) -> np.ndarray:
        return np.eye(4) if index is None else world(above.get(index)) @ _matrix(nodes[index])

    joints = {joint for skin in document.get("skins", []) for joint in skin["joints"]}
    heads = [i for i, node in enumerate(nodes) if i in joints and _HEAD.search(node.get("name", ""))]
    if heads:
        return [(heads[0], world(above.get(heads[0])), world(heads[0])[:3, 3])]
    if joints:
        return []

    def shown(index: int) -> bool:
        return "mesh" in nodes[index] or any(shown(child) for child in nodes[index].get("children", []))

    scene = document.get("scenes", [{}])[document.get("scene", 0)]
    return [(root, np.eye(4), neck) for root in scene.get("nodes", []) if shown(root)]


def _turning(
    node: dict[str, Any], index: int, parent: np.ndarray, pivot: np.ndarray, turns: np.ndarray
) -> list[tuple[int, str, np.ndarray]]:
    """Channels that turn a node by (T,3,3) about a point of the world. A node that is animated has no matrix: it gets
    the rotation, translation and scale of it."""
    rest = _matrix(node)
    about = np.tile(np.eye(4), (len(turns), 1, 1))
    about[:, :3, :3] = turns
    about[:, :3, 3] = pivot - turns @ pivot
    local = np.linalg.inv(parent) @ about @ parent @ rest
    if node.pop("matrix", None) is not None:
        scale = np.linalg.norm(rest[:3, :3], axis=0) * [np.sign(np.linalg.det(rest[:3, :3])), 1, 1]
        node["rotation"] = Rotation.from_matrix(rest[:3, :3] / scale).as_quat().tolist()
        node["translation"], node["scale"] = rest[:3, 3].tolist(), scale.tolist()
    rotation = local[:, :3, :3] / np.array(node.get("scale", [1.0, 1.0, 1.0]))
    return [(index, "rotation", quaternions(rotation)), (index, "translation", local[:, :3, 3])]
