"""Drawing of the synthetic captures: one Numba kernel shades a head; small functions add background and camera."""

from __future__ import annotations

import cv2
import numba
import numpy as np
import torch

from selftrack.decoders.mesh.normals import vertex_normals


def mesh_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Compute the unit normals (V,3) float64 of vertices (V,3) with triangles `faces` (F,3), see `vertex_normals`."""
    exact = torch.from_numpy(vertices.astype(np.float64))
    return vertex_normals(exact[None], torch.from_numpy(faces))[0].numpy()


@numba.njit(cache=True, nogil=True)
def shade(
    picture: np.ndarray,  # (S,S,3) float32, drawn over
    face_index: np.ndarray,  # (S,S)
    barycentric: np.ndarray,  # (S,S,3)
    faces: np.ndarray,  # (F,3)
    uv_faces: np.ndarray,  # (F,3)
    uvs: np.ndarray,  # (N,2)
    normals: np.ndarray,  # (V,3) outward, camera frame
    texture: np.ndarray,  # (T,T,3)
    harmonics: np.ndarray,  # (9,3) light in second-order spherical harmonics
    lamp: np.ndarray,  # (3,) unit vector towards the lamp of the highlight
    gloss: float,  # strength of the highlight
    sharpness: float,  # its exponent
) -> None:
    """Shade a textured head under spherical-harmonic light with a Blinn-Phong highlight (viewer along -z)."""
    size, side = picture.shape[0], texture.shape[0]
    hx, hy, hz = lamp[0], lamp[1], lamp[2] - 1.0
    hn = np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
    basis = np.empty(9)
    for y in range(size):
        for x in range(picture.shape[1]):
            f = face_index[y, x]
            if f < 0:
                continue
            u = v = nx = ny = nz = 0.0
            for c in range(3):
                w = barycentric[y, x, c]
                i, t = faces[f, c], uv_faces[f, c]
                u += w * uvs[t, 0]
                v += w * uvs[t, 1]
                nx += w * normals[i, 0]
                ny += w * normals[i, 1]
                nz += w * normals[i, 2]
            norm = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
            nx, ny, nz = nx / norm, ny / norm, nz / norm
            basis[0], basis[1], basis[2], basis[3] = 1.0, ny, nz, nx
            basis[4], basis[5], basis[6] = nx * ny, ny * nz, 3 * nz * nz - 1
            basis[7], basis[8] = nx * nz, nx * nx - ny * ny
            tx = min(max(u * side - 0.5, 0.0), side - 1.001)
            ty = min(max(v * side - 0.5, 0.0), side - 1.001)
            i, j = int(ty), int(tx)
            a, b = ty - i, tx - j
            shine = max((nx * hx + ny * hy + nz * hz) / hn, 0.0) ** sharpness * gloss
            for c in range(3):
                light = 0.0
                for k in range(9):
                    light += basis[k] * harmonics[k, c]
                colour = (1 - a) * ((1 - b) * texture[i, j, c] + b * texture[i, j + 1, c]) + a * (
                    (1 - b) * texture[i + 1, j, c] + b * texture[i + 1, j + 1, c]
                )
                picture[y, x, c] = colour * max(light, 0.02) + shine


def noise_picture(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a background (S,S,3) in 0..1: colour noise over several octaves, sometimes with boxes and lines."""
    base = rng.uniform(0.05, 0.95) + rng.uniform(-0.2, 0.2, 3)
    picture = np.full((size, size, 3), base, np.float32)
    for octave in (2, 4, 9, 24, 64):
        grain = rng.normal(0, rng.uniform(0, 0.22), (octave, octave, 3)).astype(np.float32)
        grey = rng.uniform(0.3, 1)  # most backgrounds have little colour
        grain = grey * grain.mean(2, keepdims=True) + (1 - grey) * grain
        picture += cv2.resize(grain, (size, size), interpolation=cv2.INTER_CUBIC)
    for _ in range(rng.poisson(3)):
        a, b = rng.integers(-20, size + 20, (2, 2))
        colour = tuple(rng.uniform(0, 1, 3).tolist())
        if rng.random() < 0.6:
            cv2.rectangle(picture, a.tolist(), b.tolist(), colour, -1)
        else:
            cv2.line(picture, a.tolist(), b.tolist(), colour, int(rng.integers(1, 8)), cv2.LINE_AA)
    return picture.clip(0, 1)


def random_light(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw spherical-harmonic light (9,3) with one main lamp; also returns the unit vector (3,) towards that lamp."""
    lamp = rng.normal(0, 1, 3) * [1.0, 0.7, 0.5] + [0, -0.5, -0.8]
    lamp /= np.linalg.norm(lamp)
    x, y, z = lamp
    direction = np.array([1, y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y])
    band = np.array([0.55, 0.75, 0.75, 0.75, 0.6, 0.6, 0.12, 0.6, 0.3])
    tint = 1 + rng.normal(0, 0.07, 3)
    ambient = rng.uniform(0.25, 0.9)
    light = np.outer(direction * band, tint) * rng.uniform(0.1, 0.75)
    light[0] += ambient * (1 + rng.normal(0, 0.05, 3))
    light[1:] += rng.normal(0, 0.06, (8, 1)) + rng.normal(0, 0.02, (8, 3))
    frontal = light.mean(1) @ [1, 0, -1, 0, 0, 0, 2, 0, 0]  # on a surface that faces the camera
    return light * rng.uniform(0.5, 1.15) / max(frontal, 0.3), lamp


def blob(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw an occluder such as a hand or a microphone: mask (S,S) in 0..1 and colour picture (S,S,3)."""
    mask = np.zeros((size, size), np.float32)
    at = rng.uniform(0.1, 0.9, 2) * size
    for _ in range(rng.integers(1, 6)):
        axes = rng.uniform(0.03, 0.16, 2) * size
        cv2.ellipse(mask, (at.tolist(), (2 * axes).tolist(), rng.uniform(0, 180)), 1.0, -1)
        at = at + rng.normal(0, 0.06 * size, 2)
    colour = rng.uniform(0.05, 0.9, 3) if rng.random() < 0.4 else np.array([0.8, 0.6, 0.5]) * rng.uniform(0.25, 1.1)
    paint = np.broadcast_to(colour, (size, size, 3)) + rng.normal(0, 0.05, (size, size, 1))
    return cv2.GaussianBlur(mask, (0, 0), 1.0), paint


def lens_and_sensor(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Take a picture (S,S,3) uint8 of one in 0..1: exposure, tone, blur, motion, noise, low resolution, JPEG."""
    size = picture.shape[0]
    picture = np.ascontiguousarray(picture, np.float32) * rng.uniform(0.75, 1.3) * (1 + rng.normal(0, 0.04, 3))
    picture = picture.astype(np.float32).clip(0, 1.2) ** rng.uniform(0.7, 1.35)
    if rng.random() < 0.3:
        side = int(size * rng.uniform(0.3, 0.9))
        picture = cv2.resize(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), (size, size))
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.4))
    if rng.random() < 0.12:
        length = int(rng.integers(3, 8))
        kernel = np.zeros((length, length), np.float32)
        angle = rng.uniform(0, np.pi)
        offset = np.array([np.cos(angle), np.sin(angle)]) * length / 2
        middle = np.full(2, (length - 1) / 2)
        cv2.line(
            kernel,
            np.round(middle - offset).astype(int).tolist(),
            np.round(middle + offset).astype(int).tolist(),
            1.0,
        )
        picture = cv2.filter2D(picture, -1, kernel / kernel.sum())
    if rng.random() < 0.6:
        picture = picture + rng.normal(0, rng.uniform(0.003, 0.04), picture.shape).astype(np.float32)
    if rng.random() < 0.08:
        picture = picture.mean(2, keepdims=True).repeat(3, 2)
    out = (picture * 255).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        code = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])[1]
        out = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))
    return out
