"""Writes glTF 2.0 documents (.glb)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pygltflib as gltf


class GlbWriter:
    """A glTF document with one scene, and its binary part."""

    def __init__(self) -> None:
        asset = gltf.Asset(version="2.0", generator="selftrack")
        self.document = gltf.GLTF2(asset=asset, scene=0, scenes=[gltf.Scene()])
        self._blob = bytearray()

    def node(self, name: str, parent: int | None = None, **content: Any) -> int:
        """Add and return the index of a new node; without a parent it is the scene's."""
        nodes = self.document.nodes
        siblings = self.document.scenes[0].nodes if parent is None else nodes[parent].children
        siblings.append(len(nodes))
        nodes.append(gltf.Node(name=name, **content))
        return len(nodes) - 1

    def view(self, data: bytes, target: int | None = None) -> int:
        """Add and return the index of a new buffer view."""
        self._blob += b"\0" * (-len(self._blob) % 4)
        views = self.document.bufferViews
        views.append(gltf.BufferView(buffer=0, byteOffset=len(self._blob), byteLength=len(data), target=target))
        self._blob += data
        return len(views) - 1

    def image(self, data: bytes, mime: str) -> int:
        """Add and return the index of a new texture."""
        self.document.images.append(gltf.Image(bufferView=self.view(data), mimeType=mime))
        self.document.textures.append(gltf.Texture(source=len(self.document.images) - 1))
        return len(self.document.textures) - 1

    def floats(self, values: np.ndarray, target: int | None = None) -> int:
        """Add and return the index of a new accessor of (N,) scalars or (N,K) vectors, as float32."""
        columns = np.asarray(values, "<f4").reshape(len(values), -1)
        accessor = gltf.Accessor(
            bufferView=self.view(columns.tobytes(), target),
            componentType=gltf.FLOAT,
            count=len(values),
            type=gltf.SCALAR if values.ndim == 1 else f"VEC{values.shape[1]}",
            min=columns.min(axis=0).tolist(),
            max=columns.max(axis=0).tolist(),
        )
        return self._accessor(accessor)

    def indices(self, values: np.ndarray) -> int:
        """Add and return the index of a new accessor of triangles (F,3), as uint32."""
        view = self.view(values.astype("<u4").tobytes(), gltf.ELEMENT_ARRAY_BUFFER)
        accessor = gltf.Accessor(bufferView=view, componentType=gltf.UNSIGNED_INT, count=values.size, type=gltf.SCALAR)
        return self._accessor(accessor)

    def _accessor(self, accessor: gltf.Accessor) -> int:
        self.document.accessors.append(accessor)
        return len(self.document.accessors) - 1

    def bytes(self) -> bytes:
        """Serialise the file."""
        self.document.buffers = [gltf.Buffer(byteLength=len(self._blob))]
        self.document.set_binary_blob(bytes(self._blob))
        return b"".join(self.document.save_to_bytes())
