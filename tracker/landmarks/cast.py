"""Who is in a clip: every face followed through it at once, kept apart by place and appearance, and numbered.

Within a shot faces are followed by where they are and what they look like. Stretches of one person, before and after
cuts, are joined by the face's descriptor where that is sure, and by what they look like where it is not. A clip whose
sampled frames never show two faces is not followed for this. Image frame: pixels of the displayed frame, x
right, y down, centre of the top-left pixel at (0, 0).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from selftrack.tracker.geometry import crop
from selftrack.tracker.identity.descriptor import Sample, describe, distance, is_legible
from selftrack.tracker.identity.network import LENGTH
from selftrack.tracker.landmarks.base import Detection, LandmarkSource, Places
from selftrack.tracker.landmarks.boxes import overlaps
from selftrack.tracker.landmarks.everyone import EVERY, sightings
from selftrack.tracker.landmarks.search import DetectConfig, bounding_box
from selftrack.tracker.progress import FINDING, FOLLOWING, Progress, no_progress
from selftrack.tracker.sources.base import FrameSource

SAMPLES = 24
"""Frames of a clip, spread over it, in which its faces are looked for."""
_LOOKS = 16
"""Appearances that are remembered of a face."""
_NEW_LOOK = 0.3
"""An appearance that differs by more from those is remembered, too."""
_LIMIT = 1.5
"""Findings that cost more (appearance, motion in face sizes and change of size) are of another person."""
_SAME = 0.55
"""Stretches whose appearances differ by less are of one person, where descriptors do not say otherwise."""
_ONE = 0.45
"""Stretches whose descriptors are nearer are of one person, whatever else they look like: one person's are up to 0.40
apart, two people's 0.52 at least, where faces are as large as `descriptor.LEGIBLE` says or larger."""
_TWO = 0.65
"""Those whose descriptors are farther apart are of two people, however alike they look."""
_UNLIKE = 0.5
"""Who looks otherwise, and by his descriptor by so much, is another one in the midst of a shot, too."""
_DESCRIBED = 5
"""Pictures of a stretch that are described."""
_SUSPECT = 1.0
"""Of sampled frames, a look that differs by more from the others is taken for another person's: all are followed."""
_AT_ONCE = 0.2
"""Seconds within which who is seen at the same place is the same, whatever he looks like."""
_COVERED = 3.0
"""The same within one shot, where nobody else is seen: a hand may cover the face meanwhile, and it may turn."""
_KEPT = 1000
"""Pictures of faces that are held at a time, of 200 kB each."""
_MANY = 40
"""With so many new stretches, all before a cut are joined at once: a film has thousands."""
_CLEAR = 0.7
"""Share of a face that is seen in what tells who somebody is."""
_ENOUGH = 6
"""With fewer pictures so clear, all of them are taken."""
_SPEED = 4.0
"""Face sizes a second that a face may move without being taken for another."""
_SHORTEST = 0.3
"""Seconds; what is seen for less is no one."""
_TOGETHER = 0.1
"""Seconds from the first face on within which others have come at the same time."""
_STILL = 0.004
"""Motion within a face, of its size, below which it is still, such as on a poster: people's is above 0.008."""


@dataclass(frozen=True)
class CastFace:
    """One person of a clip."""

    samples: tuple[Sample, ...] = field(repr=False)
    """Spread over the frames that show the person, each as `crop.face_crop` gives it: 256 pixels wide."""
    times: tuple[float, float]
    """Seconds of the first and last of these frames."""
    size: float
    """Median side of the face's box, pixels."""
    seen: float
    """Seconds for which it is seen, all stretches together."""
    still: bool = False
    """Whether nothing moves within the face, such as on a poster."""
    places: Places | None = None
    """Where it is, where there are others; None: follow what is found."""

    def __str__(self) -> str:
        """As a note tells of it."""
        still = ", still as a picture" if self.still else ""
        return f"{self.times[0]:.1f} to {self.times[1]:.1f} s, {self.size:.0f} pixels wide{still}"


def find_cast(
    source: FrameSource,
    landmarks: LandmarkSource,
    config: DetectConfig,
    progress: Progress = no_progress,
    samples: int = SAMPLES,
    everyone: bool = False,
) -> tuple[CastFace, ...]:
    """Find the people of a clip, by number: those that move before those that are still, then who comes first, then
    the larger.

    Args:
        source: the clip; nobody is found where it cannot be read twice.
        landmarks: what finds faces.
        config: detection.
        progress: told of the passes over sampled frames and over all.
        samples: frames to look at, spread over the clip.
        everyone: follow all frames at once, without a look at sampled ones.
    """
    count = source.count()
    if not source.repeatable or not count:
        return ()
    # in seconds, as if the clip's frames lay evenly
    step = float(source.info.duration or count / source.info.rate) / count
    if everyone:
        return _numbered(_follow_all(source, landmarks, config, count, progress, samples, step), step)
    rows = np.unique(np.linspace(0, count - 1, samples + 2)[1:-1].round().astype(int))
    alone, several = _Path(samples), False
    spread = source.glimpses(set(rows.tolist()))
    for done, (frame, faces, looks, *_) in enumerate(sightings(spread, landmarks, config), 1):
        for face, look in zip(faces[:1], looks, strict=False):
            several |= bool(alone.looks) and alone.suspects(_Finding(frame.image, face, look))
            alone.add(frame.time, frame.image, face, look)
        several |= len(faces) > 1
        progress(FINDING, done, len(rows))
    if several:
        return _numbered(_follow_all(source, landmarks, config, count, progress, samples, step), step)
    return _numbered([alone] if alone.times else [], step * count / len(rows))


class _Finding:
    """A face in a frame, described when that is asked for."""

    def __init__(self, image: np.ndarray, face: Detection, look: np.ndarray) -> None:
        self.look, self.box = look, bounding_box(face.points)
        self._image, self._face = image, face

    @cached_property
    def sample(self) -> Sample:
        """The face as the networks see it."""
        return crop.face_crop(self._image, self._face.points)

    @cached_property
    def descriptor(self) -> np.ndarray | None:
        """(128,); None where too little is seen of the face."""
        return describe([self.sample])[0] if _tells(self._face) else None


class _Path:
    """A stretch of a face through the clip, in constant memory but for its boxes and regions; of each `every` frames it
    has a sample at most."""

    def __init__(self, samples: int, every: int = 1) -> None:
        self.times: list[float] = []
        self.boxes: list[np.ndarray] = []
        self.regions: list[np.ndarray] = []
        self.looks: list[np.ndarray] = []
        self.samples: dict[int, Sample] = {}
        self.clear: set[int] = set()
        self.telling: set[int] = set()
        self._descriptors: dict[int, np.ndarray] = {}
        self._most, self._every = samples, every

    def add(self, time: float, image: np.ndarray, face: Detection, look: np.ndarray) -> None:
        row = len(self.times)
        if not self.samples or row // self._every > max(self.samples) // self._every:
            self.samples[row] = crop.face_crop(image, face.points)
            if _is_clear(face):
                self.clear.add(row)
            if _tells(face):
                self.telling.add(row)
            while len(self.samples) >= 2 * self._most:
                self.thin()
        self.times.append(time)
        self.boxes.append(bounding_box(face.points))
        self.regions.append(crop.face_similarity(face.points))
        if len(self.looks) < _LOOKS and (not self.looks or self.unlike(look) > _NEW_LOOK):
            self.looks.append(look)

    def move(self, passed: Sequence[float], time: float, face: Detection) -> None:
        """Go straight towards a finding at a time, over the frames at earlier ones."""
        at = (np.array(passed) - self.times[-1]) / (time - self.times[-1])
        box, region = bounding_box(face.points), crop.face_similarity(face.points)
        self.boxes += list(self.boxes[-1] + at[:, None] * (box - self.boxes[-1]))
        self.regions += list(self.regions[-1] + at[:, None, None] * (region - self.regions[-1]))
        self.times += passed

    def thin(self) -> None:
        """Keep the samples of every second stretch."""
        self._every *= 2
        first = {row // self._every: row for row in reversed(self.samples)}
        self.samples = {row: self.samples[row] for row in sorted(first.values())}

    def unlike(self, look: np.ndarray) -> float:
        """How much an appearance differs from those of this path."""
        return float(min(np.linalg.norm(look - known) for known in self.looks))

    def descriptor(self) -> np.ndarray | None:
        """The mean descriptor (128,) of some of the samples; None where none tells who it is."""
        rows = sorted(self.telling & self.samples.keys())
        if not rows:
            return None
        chosen = [rows[k] for k in np.unique(np.linspace(0, len(rows) - 1, _DESCRIBED).round().astype(int))]
        fresh = [row for row in chosen if row not in self._descriptors]
        self._descriptors |= zip(fresh, describe([self.samples[row] for row in fresh]), strict=True)
        return np.mean([self._descriptors[row] for row in chosen], 0)

    def suspects(self, found: _Finding) -> bool:
        """Whether a finding may be of somebody else."""
        unlike = self.unlike(found.look)
        return unlike > _SUSPECT or (unlike > _SAME and self._contradicts(found))

    def _contradicts(self, found: _Finding) -> bool:
        """Whether the descriptors tell a finding that looks otherwise from this path."""
        if found.descriptor is None:
            return False
        own = self.descriptor()
        return own is not None and float(distance(own, found.descriptor)) > _UNLIKE

    def cost(self, time: float, found: _Finding, alone: bool) -> float:
        """How little a finding continues this path within a shot. `alone`: nobody else is there, or was since this
        path's last finding."""
        last, gap, unlike = self.boxes[-1], time - self.times[-1], self.unlike(found.look)
        stays = gap < (_COVERED if alone else _AT_ONCE) and overlaps(found.box[None], last)[0] > 0.5
        if stays:
            unlike = min(unlike, _SAME)  # who stays where he is may put on a mask
        free = 1 + _SPEED * gap
        shift = float(np.linalg.norm(_centre(found.box) - _centre(last))) / (_size(last) * free)
        cost = unlike + shift + abs(float(np.log(_size(found.box) / _size(last)))) / free
        another = unlike > _SAME and cost < _LIMIT and self._contradicts(found)
        return np.inf if another else cost

    def motion(self) -> float:
        """Deviation of the landmarks from an affine image of their mean, in sizes of the face."""
        shapes = np.stack([points for _, points in self.samples.values()])
        sizes = np.array([_size(bounding_box(points)) for points in shapes])
        shapes = (shapes - shapes.mean(1, keepdims=True)) / sizes[:, None, None]
        mean = shapes.mean(0)
        fitted = np.stack([mean @ np.linalg.lstsq(mean, shape, rcond=None)[0] for shape in shapes])
        return float(np.sqrt(((shapes - fitted) ** 2).sum(-1).mean()))

    def joined(self, other: _Path) -> _Path:
        """This path and another one of the same face, which is never there at the same time."""
        both, order = _Path(self._most), np.argsort(self.times + other.times)
        for name in ("times", "boxes", "regions"):
            values = getattr(self, name) + getattr(other, name)
            setattr(both, name, [values[row] for row in order])
        both.looks = self.looks + other.looks
        if len(both.looks) > 2 * _LOOKS:
            both.looks = both.looks[::2]
        both.samples = self.samples | {len(self.times) + row: sample for row, sample in other.samples.items()}
        both.clear = self.clear | {len(self.times) + row for row in other.clear}
        both.telling = self.telling | {len(self.times) + row for row in other.telling}
        both._descriptors = self._descriptors | {len(self.times) + row: x for row, x in other._descriptors.items()}
        while len(both.samples) >= 2 * both._most:
            both.thin()
        return both

    def shown(self) -> tuple[Sample, ...]:
        """The samples in which the face is seen clearly; all of them where these are few."""
        clear = [sample for row, sample in self.samples.items() if row in self.clear]
        return tuple(clear if len(clear) >= min(_ENOUGH, len(self.samples)) else self.samples.values())


def _follow_all(
    source: FrameSource,
    landmarks: LandmarkSource,
    config: DetectConfig,
    count: int,
    progress: Progress,
    samples: int,
    step: float,
) -> list[_Path]:
    """Paths of all faces through all frames, `step` seconds apart, those of one person joined."""
    paths: list[_Path] = []
    same: set[tuple[int, int]] = set()
    done, before, shot, joined = 0, -np.inf, 0, 0
    stride = _stride(count, step, samples)
    for frame, faces, looks, cut, passed in sightings(source.frames(), landmarks, config, stride):
        if cut:
            if len(paths) >= joined + _MANY:
                paths, same = _joined(paths, same), set()
                joined = len(paths)
            shot = len(paths)  # those before are continued by none; which of them are the same is found at the end
        found = [_Finding(frame.image, face, look) for face, look in zip(faces, looks, strict=True)]
        numbers = [shot + number for number in _assigned(paths[shot:], frame.time, found)]
        same |= _handed_over(paths, shot, frame.time, numbers, found)
        for number, face, look in zip(numbers, faces, looks, strict=True):
            if number == len(paths):
                paths.append(_Path(samples, stride))
            elif paths[number].times[-1] == before:
                paths[number].move(passed, frame.time, face)
            paths[number].add(frame.time, frame.image, face, look)
        if sum(len(path.samples) for path in paths) > _KEPT:
            for path in paths:
                path.thin()
        done, before = done + len(passed) + 1, frame.time
        progress(FOLLOWING, done, count)
    people = _joined(paths, same)
    return [path for path in people if len(path.times) * step >= _SHORTEST] or people


def _stride(count: int, step: float, samples: int) -> int:
    """From one search to the next, of a clip's frames, `step` seconds apart: such that the samples of a face that is
    always there are among them."""
    stride = 1
    while 2 * stride * step <= EVERY and count > stride * (2 * samples - 1):
        stride *= 2
    return stride


def _assigned(paths: Sequence[_Path], time: float, found: Sequence[_Finding]) -> Iterator[int]:
    """For each finding the path of the shot that it continues; where there is none, the next new number."""
    from scipy.optimize import linear_sum_assignment  # here, since it takes a while and only clips of several need it

    latest = max((path.times[-1] for path in paths), default=0.0)
    alone = [
        len(found) == 1 and path.times[-1] == latest and sum(other.times[-1] == latest for other in paths) == 1
        for path in paths
    ]
    costs = np.array([[path.cost(time, one, only) for path, only in zip(paths, alone, strict=True)] for one in found])
    known = dict(zip(*linear_sum_assignment(costs.clip(max=2 * _LIMIT)), strict=True)) if costs.size else {}
    fresh = len(paths)
    for row in range(len(found)):
        if row in known and costs[row, known[row]] < _LIMIT:
            yield int(known[row])
        else:
            yield fresh
            fresh += 1


def _handed_over(
    paths: Sequence[_Path], shot: int, time: float, numbers: Sequence[int], found: Sequence[_Finding]
) -> set[tuple[int, int]]:
    """Pairs of paths of a shot, the first of which was a moment ago where the second one goes on, such as of a face
    that is seen clearly again. `shot` is the first path of it."""
    latest = max((path.times[-1] for path in paths[shot:]), default=-np.inf)
    if time - latest >= _AT_ONCE:
        return set()
    return {
        (left, number)
        for number, one in zip(numbers, found, strict=True)
        for left, path in enumerate(paths[shot:], shot)
        if number < len(paths) and left not in numbers and path.times[-1] == latest
        if overlaps(path.boxes[-1][None], one.box)[0] > 0.5
    }


def _joined(paths: list[_Path], same: Set[tuple[int, int]] = frozenset()) -> list[_Path]:
    """Paths with those of one person made one, where they are never there together; the most alike first.

    Those that are the `same` by their places are of one, and others as `_difference` says.
    """
    from scipy.spatial.distance import cdist  # here, as in `_assigned`

    count = len(paths)
    together, known, unlike = np.eye(count, dtype=bool), np.zeros((count, count), bool), np.full((count, count), np.inf)
    times, looks = [set(path.times) for path in paths], [np.stack(path.looks) for path in paths]
    for a in range(count):
        for b in range(a):
            together[a, b] = together[b, a] = not times[a].isdisjoint(times[b])
            known[a, b] = known[b, a] = (a, b) in same or (b, a) in same
            if not together[a, b]:
                unlike[a, b] = unlike[b, a] = float(cdist(looks[a], looks[b]).min())
    alive = list(paths)
    while not together.all():
        apart = np.where(together, np.inf, np.where(known, 0.0, _difference(alive, unlike)))
        if np.isinf(apart.min()):
            break
        a, b = sorted(divmod(int(apart.argmin()), len(apart)))
        alive[a] = alive[a].joined(alive[b])
        del alive[b]
        together, known, unlike = _merged(together, a, b), _merged(known, a, b), -_merged(-unlike, a, b)
    return alive


def _difference(paths: Sequence[_Path], unlike: np.ndarray) -> np.ndarray:
    """How much paths differ (N,N), infinite for those of two people: of one are those whose descriptors are near, and
    those that look alike by `unlike` (N,N) unless their descriptors are far apart."""
    nothing = np.full(LENGTH, np.nan)
    described = np.stack([nothing if (own := path.descriptor()) is None else own for path in paths])
    far = distance(described[:, None], described[None])
    one = (far < _ONE) | ((unlike < _SAME) & ~(far > _TWO))
    return np.where(one, unlike / _SAME + np.where(np.isnan(far), unlike / _SAME, far / _ONE), np.inf)


def _merged(table: np.ndarray, a: int, b: int) -> np.ndarray:
    """A symmetric table (N,N) of pairs with b made one with a: the larger of both."""
    table = table.copy()
    table[a] = table[:, a] = np.maximum(table[a], table[b])
    return np.delete(np.delete(table, b, 0), b, 1)


def _numbered(paths: Sequence[_Path], step: float) -> tuple[CastFace, ...]:
    """The faces of paths, whose findings are `step` seconds apart, in the order of their numbers, each with the places
    of itself and of the others."""
    if not paths:
        return ()
    first = min(path.times[0] for path in paths)
    still = [path.motion() < _STILL for path in paths]
    still = still if not all(still) else [False] * len(paths)

    def order(number: int) -> tuple[bool, float, float]:
        came = paths[number].times[0]
        return still[number], came if came > first + _TOGETHER else first, -_size(paths[number].boxes[0])

    everyone = [(np.array(path.times), np.stack(path.boxes)) for path in paths]
    faces = []
    for number in sorted(range(len(paths)), key=order):
        path = paths[number]
        others = tuple(one for other, one in enumerate(everyone) if other != number)
        places = Places(everyone[number][0], everyone[number][1], np.stack(path.regions), others) if others else None
        size = float(np.median([_size(box) for box in path.boxes]))
        times, seen = (path.times[0], path.times[-1]), len(path.times) * step
        faces.append(CastFace(path.shown(), times, size, seen, still[number], places))
    return tuple(faces)


def _centre(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2


def _size(box: np.ndarray) -> float:
    return float((box[2:] - box[:2]).max())


def _is_clear(face: Detection) -> bool:
    return face.visible is None or bool(face.visible.mean() >= _CLEAR)


def _tells(face: Detection) -> bool:
    """Whether the descriptor of a face says who it is."""
    return _is_clear(face) and is_legible(face.points)
