"""Packs a .glb by EXT_meshopt_compression, without loss: its numbers come back bit by bit.

The stream is version 0 of the extension's mode ATTRIBUTES: rows of bytes in blocks, each byte of a row by itself, as
its difference from that of the row before; sixteen differences are a group, which takes 0, 2, 4 or 8 bits for each.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

NAME = "EXT_meshopt_compression"
_FLOAT = 5126
_WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_JSON, _BIN = b"JSON", b"BIN\0"
_HEADER = b"\xa0"
_GROUP = 16  # differences
_MOST = 256  # rows of a block; fewer where a row has more than 32 bytes, which ours have not
_TAIL = 32  # bytes, at the least, of what ends a stream
_ROOM = 24  # bytes of the longest group: sixteen of 4 bits, all of them out of range
_BITS = {1: 2, 2: 4}  # of a difference, by a group's mode


def compressed(glb: bytes) -> bytes:
    """Pack the floats of a .glb that has one accessor a view; what is no shorter for it stays, and so do images and
    indices. Readers need the extension."""
    document, blob = _split(glb)
    rows = {
        accessor["bufferView"]: 4 * _WIDTH[accessor["type"]]
        for accessor in document["accessors"]
        if accessor["componentType"] == _FLOAT
    }
    packed, plain = bytearray(), 0
    for number, view in enumerate(document["bufferViews"]):
        start, length = view.get("byteOffset", 0), view["byteLength"]
        data = stored = blob[start : start + length]
        packed += bytes(-len(packed) % 4)
        place = {"buffer": 0, "byteOffset": len(packed)}
        if number in rows:
            stored = encode_rows(np.frombuffer(data, np.uint8).reshape(-1, rows[number]))
        if len(stored) < length:
            count = length // rows[number]
            own = {"byteLength": len(stored), "byteStride": rows[number], "count": count, "mode": "ATTRIBUTES"}
            view["extensions"] = {NAME: place | own}
            place = {"buffer": 1, "byteOffset": plain}
            plain += length
        else:
            stored = data
        view.update(place)
        packed += stored
    fallback = {"byteLength": plain, "extensions": {NAME: {"fallback": True}}}
    document["buffers"] = [{"byteLength": len(packed)}, fallback]
    for key in ("extensionsUsed", "extensionsRequired"):
        document[key] = [*document.get(key, []), NAME]
    return _joined(document, bytes(packed))


def encode_rows(rows: np.ndarray) -> bytes:
    """Encode rows (N,S) of S bytes, S being a multiple of 4 and at most 32."""
    before = np.concatenate([rows[:1], rows[:-1]])
    steps = rows - before  # modulo 256
    differences = np.where(steps < 128, steps << 1, ~(steps << 1))  # 0, -1, 1, -2 become 0, 1, 2, 3
    whole = len(rows) // _MOST * _MOST
    parts = [part for part in (differences[:whole], differences[whole:]) if len(part)]
    return b"".join([_HEADER, *map(_blocks, parts), bytes(max(_TAIL - rows.shape[1], 0)), rows[0].tobytes()])


def _blocks(differences: np.ndarray) -> bytes:
    """Whole blocks of rows (N,S), or one that has fewer."""
    count, size = differences.shape
    length = min(count, _MOST)
    by_byte = differences.reshape(-1, length, size).swapaxes(1, 2)  # (blocks, S, rows)
    groups = -(-length // _GROUP)
    padded = np.zeros((len(by_byte) * size, groups * _GROUP), np.uint8)
    padded[:, :length] = by_byte.reshape(-1, length)
    bodies, lengths, modes = _groups(padded.reshape(-1, _GROUP))
    fours = -(-groups // 4)
    two_bits = np.zeros((len(padded), fours * 4), np.uint8)
    two_bits[:, :groups] = modes.reshape(-1, groups)
    headers = (two_bits.reshape(-1, fours, 4) << np.arange(0, 8, 2, dtype=np.uint8)).sum(axis=2, dtype=np.uint8)
    kept = np.arange(_ROOM) < lengths[:, None]
    stream = np.concatenate([headers, bodies.reshape(len(padded), -1)], axis=1)
    taken = np.concatenate([np.ones_like(headers, bool), kept.reshape(len(padded), -1)], axis=1)
    return stream[taken].tobytes()


def _groups(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Encode groups (G,16), each in the way that is shortest for it: bytes (G,24), of which the first so many (G,)
    count, and modes (G,)."""
    bodies = np.zeros((4, len(groups), _ROOM), np.uint8)
    lengths = np.full((4, len(groups)), _GROUP)
    lengths[0] = np.where(groups.any(axis=1), _ROOM + 1, 0)  # all of them zero, or not in this mode
    for mode, bits in _BITS.items():
        most = 2**bits - 1  # stands for a value that comes as a byte after the group
        low, each = np.minimum(groups, most), 8 // bits
        shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)  # the first is highest
        head = (low.reshape(len(groups), -1, each) << shifts).sum(axis=2, dtype=np.uint8)
        out = groups >= most
        order = np.argsort(~out, axis=1, kind="stable")
        bodies[mode, :, : head.shape[1]] = head
        rest = np.take_along_axis(groups, order, axis=1)[:, : _ROOM - head.shape[1]]
        bodies[mode, :, head.shape[1] : head.shape[1] + rest.shape[1]] = rest
        lengths[mode] = head.shape[1] + out.sum(axis=1)
    bodies[3, :, :_GROUP] = groups
    modes = lengths.argmin(axis=0)
    every = np.arange(len(groups))
    return bodies[modes, every], lengths[modes, every], modes


def _split(glb: bytes) -> tuple[dict[str, Any], bytes]:
    """The document and the binary part."""
    (length,) = struct.unpack_from("<I", glb, 12)
    return json.loads(glb[20 : 20 + length]), glb[28 + length :]


def _joined(document: dict[str, Any], blob: bytes) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode()
    chunks = [(_JSON, text + b" " * (-len(text) % 4)), (_BIN, blob + bytes(-len(blob) % 4))]
    body = b"".join(struct.pack("<I", len(data)) + kind + data for kind, data in chunks)
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body
