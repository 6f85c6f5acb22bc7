"""The face in the frames of a video: found once, then followed by its own landmarks.

Image frame: pixels of the displayed frame, x right, y down, centre of the top-left pixel at (0, 0).
"""

import numpy as np

from selftrack.tracker.geometry import crop
from selftrack.tracker.landmarks.attention_mesh import SIZE
from selftrack.tracker.landmarks.base import Detection, Follower, Places
from selftrack.tracker.landmarks.boxes import overlaps
from selftrack.tracker.landmarks.search import DetectConfig, FaceSearch, bounding_box

_ATTEMPTS = 4
"""So often a fast face is looked at in one frame before it counts as lost."""
_RATE = 30.0
"""Frames per second of pictures whose times are not given."""


class FaceFollower(Follower):
    """Follows one face through a video, forward only. Its memory is the last points and the last region.

    The region that the landmark network sees comes from the points of the frame before. When the face leaves
    it (lost, or jumped at a cut) all faces are searched for, and the one that overlaps the last place is
    taken, else the one that the settings name. Where the clip's faces are known beforehand, it is at its `Places`.
    """

    def __init__(self, search: FaceSearch, config: DetectConfig | None = None, places: Places | None = None) -> None:
        """`search` is shared with other followers and has no memory; `places` are those of the clip's faces."""
        self.config = config or DetectConfig()
        self._search, self._places = search, places
        self._region = crop.CropStabiliser(self.config.region)
        self.reset()

    def reset(self) -> None:
        """Forgets the face: the next frame is searched as the first."""
        self._points: np.ndarray | None = None
        self._place: np.ndarray | None = None
        self._looked = -np.inf
        self._count = 0
        self._region.reset()

    def __call__(self, frame: np.ndarray, time: float | None = None) -> Detection | None:
        """The next frame (H, W, 3) uint8 RGB and its time in seconds -> its face, or None if there is none."""
        _check_frame(frame)
        time = self._count / _RATE if time is None else time
        found = self._follow(frame, time)
        if found is None:
            self._region.reset()
            self._looked = time
            found = self._at_place(frame, time) if self._places else self._nearest(frame, self._place)
        self._points = None if found is None else found.points
        if found is not None:
            self._place = bounding_box(found.points)
        self._count += 1
        return found

    def detect_once(self, frame: np.ndarray) -> Detection | None:
        """The face of a single frame (H, W, 3) uint8 RGB; neither uses nor changes what is remembered."""
        _check_frame(frame)
        return self._nearest(frame, None)

    def _follow(self, frame: np.ndarray, time: float) -> Detection | None:
        """The face near its last points, None if it is not there."""
        if self._points is None:
            return None
        region = self._region(self._points, time)
        for _ in range(_ATTEMPTS):
            found = self._search.read(frame, region, self.config.min_presence)
            lag = np.inf if found is None else _lag(region, found.points)
            if found is None or lag > self.config.max_jump:
                return None
            if lag < self.config.max_lag:
                return found if self._is_face(frame, found, time) else None
            # the network expects a face to fill its region, so its answer lags behind, too
            region = crop.face_similarity(found.points, SIZE)
        return None

    def _is_face(self, frame: np.ndarray, found: Detection, time: float) -> bool:
        """Whether what is followed is the face still, and not another one; now and then, whether it is a face at all:
        the landmark network takes patterns for faces, too, once it follows them."""
        if self._places and self._places.is_other(time, bounding_box(found.points)):
            return False
        if time < self._looked + self.config.every:
            return True
        self._looked = time
        return self._search.score(frame, found.points) >= self.config.min_followed

    def _at_place(self, frame: np.ndarray, time: float) -> Detection | None:
        """The face where it is known to be at a time."""
        assert self._places is not None
        region = self._places.region(time)
        if region is None:
            return None
        return self._search.read(frame, region * (SIZE / crop.CROP_SIZE), self.config.min_presence)

    def _nearest(self, frame: np.ndarray, place: np.ndarray | None) -> Detection | None:
        """The face at a place (4,) if there is one, else the one of the settings' rank."""
        faces = self._search(frame, self.config.face + 1, self.config)
        if place is not None and faces:
            shared = overlaps(np.stack([bounding_box(face.points) for face in faces]), place)
            if shared.max() > self.config.same_face:
                return faces[int(shared.argmax())]
        return faces[self.config.face] if self.config.face < len(faces) else None


def _check_frame(frame: np.ndarray) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"expected a frame (H, W, 3) uint8, got {frame.shape} {frame.dtype}")


def _lag(region: np.ndarray, points: np.ndarray) -> float:
    """How far points (L, 2) are from filling a region (2, 3) as they should.

    Offset of the centre in sides or logarithm of the relative size, whichever is larger.
    """
    box = bounding_box(crop.apply(region, points))
    offset = np.hypot(*((box[:2] + box[2:]) / 2 - (SIZE - 1) / 2)) / SIZE
    size = np.log(crop.SIDE_PER_FACE * (box[2:] - box[:2]).max() / SIZE)
    return max(float(offset), abs(float(size)))
