"""Rebuild tracker/assets/viewer/three.min.js: what the viewer uses of three.js, in one classic script.

    python scripts/build_three.py

Needs node and npm; three (MIT) and esbuild (MIT) come from the npm registry into a temporary folder.
"""

import subprocess
import tempfile
from pathlib import Path

TARGET = Path(__file__).parents[1] / "tracker" / "assets" / "viewer" / "three.min.js"
PACKAGES = ("three@0.187.0", "esbuild@0.28.2")
ENTRY = """
export { AnimationMixer, DirectionalLight, Euler, HemisphereLight, PerspectiveCamera } from "three";
export { Quaternion, Vector3, WebGLRenderer } from "three";
export { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
export { OrbitControls } from "three/addons/controls/OrbitControls.js";
"""
OPTIONS = ("--bundle", "--minify", "--format=iife", "--global-name=THREE")


def main() -> None:
    """Install, bundle with the licence in front, check that it can stand in an HTML page."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "package.json").write_text("{}")
        (folder / "entry.js").write_text(ENTRY)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", *PACKAGES], cwd=folder, check=True)
        licence = (folder / "node_modules" / "three" / "LICENSE").read_text(encoding="utf-8")
        esbuild = folder / "node_modules" / ".bin" / "esbuild"
        command = [str(esbuild), "entry.js", *OPTIONS, "--legal-comments=none", "--outfile=out.js"]
        subprocess.run(command, cwd=folder, check=True)
        script = (folder / "out.js").read_text(encoding="utf-8")
    if "</script" in script:
        raise SystemExit("the bundle holds </script and would end the page's script element")
    TARGET.write_text(f"/*\n{PACKAGES[0]}\n\n{licence}*/\n{script}", encoding="utf-8")
    print(f"{TARGET}: {TARGET.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
