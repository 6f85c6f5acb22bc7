"""A window with the newest picture, the points of the face, and what is going on."""

from __future__ import annotations

import os
import sys

import cv2
import numpy as np

from selftrack.tracker.frame_result import FrameResult

_TITLE = "track live"
_GREEN, _ORANGE = (80, 220, 80), (40, 140, 255)  # BGR
_MOST = 720  # pixels of height


def missing_display() -> str:
    """Say why no window can be shown; empty where one can. Without a display OpenCV would end the program."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "no preview: there is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set)"
    return ""


class Preview:
    """The window. Keys: c calibrates, q or Esc ends."""

    def show(self, image: np.ndarray, result: FrameResult, line: str) -> str:
        """Show a frame (H,W,3) uint8 RGB with its points; returns the key that was pressed, or nothing."""
        cv2.imshow(_TITLE, drawn(image, result, line))
        key = cv2.waitKey(1) & 0xFF
        return "q" if key == 27 else chr(key) if key < 128 else ""

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()


def drawn(image: np.ndarray, result: FrameResult, line: str) -> np.ndarray:
    """Draw the points and a line into a frame (H,W,3) uint8 RGB -> (h,w,3) uint8 BGR, no higher than 720 pixels."""
    scale = min(1.0, _MOST / image.shape[0])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    picture = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), size, interpolation=cv2.INTER_AREA)
    if result.ok:
        colour = _GREEN if result.confidence >= 0.5 else _ORANGE
        for x, y in np.round((result.landmarks + 0.5) * scale - 0.5).astype(int).tolist():
            cv2.circle(picture, (x, y), 1, colour, -1)
    text = line if result.ok else f"no face  {line}"
    cv2.putText(picture, text, (10, size[1] - 12), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return picture
