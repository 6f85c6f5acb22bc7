"""How far a frame's mesh can be trusted: the probability that its skin-point error is under 1 % of the IOD.

A logistic regression on a handful of signals that tracking has anyway, none of which looks ahead. It is fitted by
`eval.checks.confidence fit` on un-adapted tracks of synthetic clips; the skin-point error is that of
`skin_points`. An adapted track's is brought to the clip by the frames that were held out, see `clip_shift`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import torch

from selftrack.decoders.base import Decoder, SurfacePoints
from selftrack.decoders.landmarks import MESH_POINTS
from selftrack.errors import UserError
from selftrack.tracker.geometry.crop import inter_ocular
from selftrack.tracker.geometry.pose import project
from selftrack.tracker.mapped import pieces
from selftrack.tracker.results.skin_points import Window, frame_error
from selftrack.tracker.results.track_file import Track

ASSET = Path(__file__).parents[1] / "assets" / "confidence.json"
LIMIT = 1.0  # percent IOD, the skin-point error that a trusted frame stays under
STEP = 1 / 30  # seconds, in which motion is measured whatever the frame rate
MEMORY = 7 * STEP  # seconds over which signals look back
TOLERANCE = 0.002  # seconds by which files round the times of their frames
REACH = 3.0  # standard deviations at which signals are held: beyond, nothing was learned
SHIFT = 2.0  # standard deviation, in log-odds, of what a clip's own level is off the one that was learned
SIGNALS = (
    "presence",  # log-odds of the detector's probability of a face
    "residual",  # log distance of the mesh from the detected points, percent IOD
    "yaw",  # radians, either side
    "pitch",
    "size",  # log pixels per metre
    "sharpness",  # log of `sharpness`
    "speed",  # log motion of the mesh in a `STEP`, percent IOD
    "travel",  # the same over the memory
    "jitter",  # log change of the mesh's velocity in a `STEP`, percent IOD per `STEP`
    "wander",  # log spread over the memory of the mesh against the detected points, percent IOD
    "change",  # log mean change of the curves in a `STEP`
)


@dataclass(frozen=True)
class ConfidenceModel:
    """Coefficients of the logistic regression; signals are standardised first."""

    mean: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def __call__(self, values: np.ndarray, shift: float = 0.0) -> np.ndarray:
        """Probabilities (T,) of signals (T,11); a signal that is not known yet (NaN) counts as an average one.

        `shift` is a clip's own, see `clip_shift`.
        """
        return 1 / (1 + np.exp(-self.log_odds(values) - shift))

    def log_odds(self, values: np.ndarray) -> np.ndarray:
        """(T,) of signals (T,11)."""
        return self.standardised(values) @ np.array(self.weights) + self.bias

    def standardised(self, values: np.ndarray) -> np.ndarray:
        """Signals (T,11) in standard deviations, held at `REACH`."""
        return np.nan_to_num((values - self.mean) / self.spread, nan=0.0).clip(-REACH, REACH)

    def save(self, path: Path) -> None:
        """Write the coefficients by signal as JSON."""
        fields = asdict(self)
        bias = fields.pop("bias")
        table = {s: {k: round(v[i], 5) for k, v in fields.items()} for i, s in enumerate(SIGNALS)}
        path.write_text(json.dumps({"bias": round(bias, 5), "signals": table}, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path = ASSET) -> Self:
        """Read what `save` wrote. Raises ValueError when it is for other signals."""
        stored = json.loads(path.read_text())
        if tuple(stored["signals"]) != SIGNALS:
            raise UserError(f"{path}: is for other signals; fit it again with eval.checks.confidence")
        rows = stored["signals"].values()
        mean, spread, weights = (tuple(row[k] for row in rows) for k in ("mean", "spread", "weights"))
        return cls(mean, spread, weights, stored["bias"])


@lru_cache(maxsize=1)
def load_confidence() -> ConfidenceModel:
    """The bundled model, loaded once."""
    return ConfidenceModel.load()


def sharpness(picture: np.ndarray) -> float:
    """Variance of the Laplacian over that of the grey levels, of a crop (H,W,3) uint8: low where blurred."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    edges, greys = (cv2.meanStdDev(values)[1].item() for values in (cv2.Laplacian(grey, cv2.CV_32F), grey))
    return edges**2 / (greys**2 + 1.0)


def confidence(track: Track, shift: float = 0.0) -> np.ndarray:
    """(T,) float32 confidence of a track's frames, 0 where lost. Causal but for `shift`, one number for the clip: no
    frame is judged by later ones."""
    return np.where(track.ok, load_confidence()(track_signals(track), shift), 0).astype(np.float32)


class StreamConfidence:
    """The confidence of frames as they come: what `confidence` says of a track, with a memory of `MEMORY` seconds."""

    def __init__(self, decoder: Decoder, points: int, inverse_distance: float = 0.0, shift: float = 0.0) -> None:
        """`points` landmarks are detected; `shift` is the clip's own, see `clip_shift`."""
        self._points = points
        self.rest_on(decoder)
        self._expression, self._inverse_distance, self._shift = decoder.expression, inverse_distance, shift
        self._rows: deque[tuple[np.ndarray, ...]] = deque()

    def rest_on(self, decoder: Decoder) -> None:
        """From the next frame on take the same person's decoder with another face at rest."""
        self._landmarks = SurfacePoints.landmarks(decoder, self._points)

    @torch.no_grad()
    def __call__(
        self,
        time: float,
        presence: float,
        sharp: float,
        detected: np.ndarray,
        z: np.ndarray,
        pose: np.ndarray,
        ok: bool,
    ) -> float:
        """Judge the next frame.

        Args:
            time: seconds.
            presence: the detector's probability of a face.
            sharp: `sharpness` of the crop.
            detected: (L,2) landmarks, image pixels.
            z: (Z,) code.
            pose: (6,) in the image.
            ok: whether a face was found; 0 is returned where not.
        """
        place = self._landmarks.mean.device
        code, at = (torch.from_numpy(values[None]).to(place) for values in (z, pose))
        mesh = project(self._landmarks(code), at, self._inverse_distance)[0, :, :2].cpu().numpy()
        row = (time, presence, sharp, detected, mesh, pose, z[self._expression], ok)
        self._rows.append(tuple(np.asarray(value) for value in row))
        while len(self._rows) > 1 and self._rows[1][0] <= time - MEMORY + TOLERANCE:
            self._rows.popleft()
        if not ok:
            return 0.0
        columns = (np.stack(column) for column in zip(*self._rows, strict=True))
        return float(load_confidence()(signals(*columns, rows=slice(-1, None)), self._shift)[0])


def clip_shift(track: Track, windows: Sequence[Window]) -> float:
    """The log-odds to add to the confidence of a track, by its skin-point error in `windows` of its clip that
    adaptation did not learn from: the model knows un-adapted tracks only. 0 without windows."""
    error = frame_error(list(windows), track.vertices, track.model().faces, track.size[::-1], track.ok)
    known = np.isfinite(error)
    weight = 1 / windows[0].paths.shape[1] if len(windows) else 0.0  # the frames of a window tell one thing
    return likeliest_shift(load_confidence().log_odds(track_signals(track)[known]), error[known] < LIMIT, weight)


def likeliest_shift(log_odds: np.ndarray, good: np.ndarray, weight: float = 1.0) -> float:
    """What to add to the log-odds (N,) of frames that are good (N,) or not, each worth `weight` observations.

    The mode of the posterior (Platt 1999, the intercept alone) under a normal prior with deviation `SHIFT`.
    """

    from scipy import optimize, special  # here, since they take a while and only adaptations need them

    def slope(shift: float) -> float:
        return weight * float((good - special.expit(log_odds + shift)).sum()) - shift / SHIFT**2

    return float(optimize.brentq(slope, -50, 50)) if slope(0.0) else 0.0


def track_signals(track: Track) -> np.ndarray:
    """The `signals` (T,11) of a track."""
    head = track.model()
    points = SurfacePoints.landmarks(head, track.landmarks.shape[1])
    out = [np.zeros((0, len(SIGNALS)))]
    for rows in pieces(track.landmarks):
        # no signal looks back farther than to the last row that is `MEMORY` before
        past = int(np.searchsorted(track.times, track.times[rows.start] - MEMORY + TOLERANCE, side="right")) - 1
        seen = slice(max(past, 0), rows.stop)
        z, pose = torch.from_numpy(track.z[seen]), torch.from_numpy(track.H_image[seen])
        with torch.no_grad():
            mesh = project(points(z), pose, track.inverse_distance)[..., :2].numpy()
        out.append(
            signals(
                track.times[seen],
                track.presence[seen],
                track.sharpness[seen],
                track.landmarks[seen],
                mesh,
                track.H_image[seen],
                track.z[seen, head.expression],
                track.ok[seen],
                rows=slice(rows.start - seen.start, None),
            )
        )
    return np.concatenate(out)


def signals(
    times: np.ndarray,
    presence: np.ndarray,
    sharp: np.ndarray,
    detected: np.ndarray,
    mesh: np.ndarray,
    pose: np.ndarray,
    expression: np.ndarray,
    ok: np.ndarray,
    *,
    rows: slice = slice(None),
) -> np.ndarray:
    """The signals (T,11) of a track, in the order of `SIGNALS`; NaN in lost frames and where there is no past.

    Args:
        times: (T,) seconds.
        presence: (T,) the detector's probability of a face.
        sharp: (T,) `sharpness` of the crops.
        detected: (T,L,2) landmarks, image pixels, NaN where lost.
        mesh: (T,L,2) the mesh at the same points.
        pose: (T,6) in the image.
        expression: (T,52).
        ok: (T,) bool.
        rows: those to return.
    """
    out = np.full((len(ok), len(SIGNALS)), np.nan)
    good = np.flatnonzero(ok)
    if not len(good):
        return out[rows]
    iod = np.maximum(inter_ocular(detected), 1e-3)
    percent = 100 / iod[:, None, None]
    mesh = mesh[:, :MESH_POINTS]
    off = (mesh - detected[:, :MESH_POINTS]) * percent
    chance = presence[good].clip(1e-3, 1 - 1e-3)
    out[good, 0] = np.log(chance / (1 - chance))
    out[good, 1] = np.log(_length(off[good]).mean(1) + 0.1)
    out[good, 2:4] = np.abs(pose[good][:, [2, 1]])
    out[good, 4] = pose[good, 0]
    out[good, 5] = np.log(sharp[good] + 1e-4)
    begin = _runs(ok)
    for row in np.intersect1d(good, np.arange(len(ok))[rows]):
        past = slice(begin[row], row + 1)
        # in the current frame's IOD, so that a turning head does not move by the change of its IOD
        out[row, 6:] = _motion(times[past], mesh[past], off[past], expression[past], float(percent[row, 0, 0]))
    return out[rows]


def _motion(times: np.ndarray, mesh: np.ndarray, off: np.ndarray, expression: np.ndarray, percent: float) -> np.ndarray:
    """The signals (5,) from speed to change of the last of some good frames, NaN where there are too few.

    Motion is that since the last frame that is a full step or more away, by the time that it took: a step of any frame
    rate. Arguments as `signals`; `percent` is that of a pixel.
    """

    def row_at(time: float) -> int:
        """The last row that is no later; -1 where there is none."""
        return int(np.searchsorted(times, time + TOLERANCE, side="right")) - 1

    def velocity(values: np.ndarray, since: int, until: int = -1) -> np.ndarray:
        return (values[until] - values[since]) * (STEP / max(times[until] - times[since], TOLERANCE))

    found = np.full(5, np.nan)
    past = [row for k in range(round(MEMORY / STEP) + 1) if (row := row_at(times[-1] - k * STEP)) >= 0]
    if len(past) < 2:
        return found
    last = past[1]
    now, before = percent * velocity(mesh, last), row_at(times[last] - STEP)
    found[0] = np.log(_length(now).mean() + 0.05)
    found[1] = np.log((len(past) - 1) * percent * _length(velocity(mesh, past[-1])).mean() + 0.05)
    if before >= 0:
        found[2] = np.log(_length(now - percent * velocity(mesh, before, last)).mean() + 0.02)
    found[3] = np.log(np.sqrt(((off[past] - off[past].mean(0)) ** 2).sum(2).mean()) + 0.05)
    found[4] = np.log(np.abs(velocity(expression, last)).mean() + 1e-3)
    return found


def _runs(ok: np.ndarray) -> np.ndarray:
    """(T,) the first row of the run of good frames that each good row belongs to."""
    rows = np.arange(len(ok))
    return np.maximum.accumulate(np.where(~ok, rows + 1, 0))


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=-1)
