"""A grid of nodes over a part of a picture, and the smooth continuation of values that are known at some of them."""

from __future__ import annotations

import numpy as np
import torch

_CLOSER = 3.0  # times, within the box


class Lattice:
    """Nodes at crossing lines of a picture's pixels, closer within a box than around it."""

    def __init__(self, low: np.ndarray, high: np.ndarray, box: tuple[np.ndarray, np.ndarray], count: int) -> None:
        """Lay about `count` nodes from `low` (2,) to `high` (2,), integer pixels x and y, both included.

        `box` are the corners (2,) of the part where they lie closer.
        """
        weight = [np.where((p >= a) & (p <= b), _CLOSER, 1.0) for p, a, b in zip(_pixels(low, high), *box, strict=True)]
        share = np.sqrt(count / np.prod([one.sum() for one in weight]))
        self.low, self.high = low, high
        self.x, self.y = (_spread(pixels, one * share) for pixels, one in zip(_pixels(low, high), weight, strict=True))
        self.shape = len(self.y), len(self.x)
        self.nodes = np.stack(np.meshgrid(self.x, self.y), -1).reshape(-1, 2).astype(float)
        """(N,2) x and y in pixels, row by row."""

    def triangles(self) -> torch.Tensor:
        """List the triangles (F,3) between the nodes."""
        at = torch.arange(len(self.nodes)).view(self.shape)
        a, b, c, d = at[:-1, :-1], at[:-1, 1:], at[1:, 1:], at[1:, :-1]
        return torch.cat([torch.stack([a, b, c], -1).reshape(-1, 3), torch.stack([a, c, d], -1).reshape(-1, 3)])

    def at_nodes(self, picture: np.ndarray) -> np.ndarray:
        """Take the values (N,...) of a picture (h,w,...) of the part at the nodes."""
        return picture[np.ix_(self.y - self.low[1], self.x - self.low[0])].reshape(-1, *picture.shape[2:])


class Harmonic:
    """The smooth continuation of values known at some nodes of a lattice to all others."""

    def __init__(self, lattice: Lattice, known: np.ndarray, reach: np.ndarray | float = np.inf) -> None:
        """Prepare for nodes (N,) bool of which those are known, one at least: the rest solves Laplace's equation, with
        no slope across the border. With a `reach` (N,) in pixels, values fall to 1/e in that distance (screened)."""
        from scipy.sparse import coo_matrix, diags
        from scipy.sparse.linalg import splu

        at = np.arange(len(known)).reshape(lattice.shape)
        steps, widths = [np.diff(p).astype(float) for p in (lattice.x, lattice.y)], []
        for step in steps:  # of the strip that belongs to a line of nodes
            widths.append((np.append(step, 0) + np.insert(step, 0, 0)) / 2)
        across = (
            (widths[1][:, None] / steps[0], at[:, :-1], at[:, 1:]),
            (widths[0] / steps[1][:, None], at[:-1], at[1:]),
        )
        flow, one, other = (np.concatenate([part.ravel() for part in parts]) for parts in zip(*across, strict=True))
        beside = coo_matrix((flow, (one, other)), (len(known), len(known))).tocsr()
        beside = beside + beside.T
        fading = (widths[1][:, None] * widths[0]).ravel() / np.square(reach)
        laplacian = (diags(np.asarray(beside.sum(1)).ravel() + fading) - beside).tocsr()
        self._known, free = known, laplacian[~known]
        self._from_known = -free[:, known]
        self._solve = splu(free[:, ~known].tocsc()).solve if not known.all() else None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Continue values (K,C) of the known nodes to all, (N,C)."""
        out = np.empty((len(self._known), values.shape[1]))
        out[self._known] = values
        if self._solve is not None:
            out[~self._known] = self._solve(self._from_known @ values.astype(float))
        return out


def _pixels(low: np.ndarray, high: np.ndarray) -> list[np.ndarray]:
    return [np.arange(a, b + 1) for a, b in zip(low.tolist(), high.tolist(), strict=True)]


def _spread(pixels: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Those of the pixels (n,), first and last among them, that lie as dense as that (n,), nodes a pixel."""
    passed = np.cumsum(np.minimum(density, 1))
    chosen = np.searchsorted(passed, np.arange(passed[0], passed[-1], 1.0))
    return pixels[np.unique([0, *chosen.tolist(), len(pixels) - 1])]
