"""Where the eyes look, from the eyeLook curves and the head model's own eyeballs."""

import numpy as np

from tracker.track_file import Track

_LOOKS = ("Down", "In", "Out", "Up")


def eye_rotations(track: Track) -> np.ndarray:
    """Rotations (T,2,3,3) of the subject's left and right eye in the head, head axes (x to the image's right at rest,
    y down, z away from the camera).

    The eyeLook shapes move the vertices of an eyeball; its rotation is the rigid one nearest to that (Kabsch 1976).
    One unit turns the bundled head's eyes by 9 (up) to 14 degrees (in). Measured on the mean head.
    """
    head, curves = track.model(), track.curves()
    turned = []
    for side in ("Left", "Right"):
        part = head.part_names.index(f"eye_{side.lower()}")
        ball = np.unique(head.faces[head.face_parts == part].numpy())
        names = [f"eyeLook{look}{side}" for look in _LOOKS]
        shapes = head.shapes[[head.expression.start + head.expression_names.index(n) for n in names]]
        rest = head.mean.numpy()[ball].astype(float)
        moved = rest + np.einsum("kt,kvc->tvc", [curves[n] for n in names], shapes.numpy()[:, ball].astype(float))
        turned.append(_rigid(rest, moved))
    return np.stack(turned, axis=1)


def _rigid(rest: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """The rotations (T,3,3) that bring points (V,3) nearest to points (T,V,3), both about their centres."""
    rest, moved = rest - rest.mean(axis=0), moved - moved.mean(axis=1, keepdims=True)
    u, _, vt = np.linalg.svd(np.einsum("tvi,vj->tij", moved, rest))
    u[:, :, 2] *= np.linalg.det(u @ vt)[:, None]
    return u @ vt
