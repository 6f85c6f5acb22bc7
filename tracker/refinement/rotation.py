"""The head's rotation and its derivatives, in double precision."""

from __future__ import annotations

import numpy as np


def rotation(angles: np.ndarray) -> np.ndarray:
    """R (3,3) = Rz Ry Rx of angles (3,), as `geometry.pose.rotation`."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(angles), np.cos(angles)
    return np.array(
        [
            [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
            [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
            [-sy, cy * sx, cy * cx],
        ]
    )


def rotation_slopes(angles: np.ndarray) -> np.ndarray:
    """The derivatives (3,3,3) of R after each of the angles (3,)."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(angles), np.cos(angles)
    return np.array(
        [
            [
                [0, cz * sy * cx + sz * sx, sz * cx - cz * sy * sx],
                [0, sz * sy * cx - cz * sx, -sz * sy * sx - cz * cx],
                [0, cy * cx, -cy * sx],
            ],
            [
                [-cz * sy, cz * cy * sx, cz * cy * cx],
                [-sz * sy, sz * cy * sx, sz * cy * cx],
                [-cy, -sy * sx, -sy * cx],
            ],
            [
                [-sz * cy, -sz * sy * sx - cz * cx, cz * sx - sz * sy * cx],
                [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
                [0, 0, 0],
            ],
        ]
    )
