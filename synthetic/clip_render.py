"""Drawing of the synthetic clips, on purpose unlike the studio that the tracker is trained in.

Light is a key and a fill lamp and a hemisphere of sky and ground, with soft shadows and Blinn-Phong highlights, in
linear colour; skins have moles, freckles, stubble and pores; backgrounds are dead leaves (Lee et al. 2001) under 1/f
noise. Directions are in the camera's frame: x right, y down, z away from the camera.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numba
import numpy as np
import torch

from selftrack.decoders.mesh.rasterizer import rasterize_numba
from selftrack.synthetic.studio_render import mesh_normals

GAMMA = 2.2
WARM = np.array([1.0, 0.0, -1.0])
SHADOW_MAP = 160  # side in pixels
SHADOW_BIAS = 0.006  # metres


@dataclass(frozen=True)
class Lights:
    """Lamps at infinity and a hemisphere."""

    directions: np.ndarray  # (L,3) unit, towards the lamps; the first, the key, casts shadows
    colours: np.ndarray  # (L,3) linear
    sky: np.ndarray  # (3,) linear, from above
    ground: np.ndarray  # (3,) from below
    gloss: float  # of the skin
    sharpness: float


@dataclass(frozen=True)
class Surface:
    """A mesh's constants for drawing."""

    faces: np.ndarray  # (F,3)
    uv_faces: np.ndarray  # (F,3)
    uvs: np.ndarray  # (N,2)
    gloss: np.ndarray  # (F,) strength of the highlight, times that of the skin
    sharp: np.ndarray  # (F,) its exponent, times that of the skin
    open: np.ndarray  # (F,) share of the hemisphere's light that gets there
    outward: float  # 1 or -1: sign that makes normals point outwards


def sample_lights(rng: np.random.Generator) -> Lights:
    """Draw a key lamp from the front half, a weaker fill from the other side, sky and ground."""
    angle, height = rng.uniform(-1.2, 1.2), rng.uniform(-0.2, 0.9)
    key = np.array([np.sin(angle), -np.sin(height), -np.cos(angle)])
    fill = np.array([-np.sin(angle), -0.2, -1.0])
    directions = np.stack([key, fill])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    warm = rng.normal(0, 0.08)
    tint = np.array([1 + warm, 1.0, 1 - warm])
    strength = np.array([rng.uniform(0.35, 1.3), rng.uniform(0, 0.35)])
    ambient = rng.uniform(0.2, 0.6)
    sky = ambient * np.array([1 - warm, 1.0, 1 + warm])
    ground = ambient * rng.uniform(0.3, 0.8) * tint
    return Lights(directions, strength[:, None] * tint, sky, ground, rng.uniform(0.01, 0.08), rng.uniform(8, 40))


def relight(lights: Lights, time: float) -> Lights:
    """Compute the lamps `time` seconds later, as in a car under street lamps.

    Every three seconds the key swings by 40 degrees to either side and grows and fades by a factor of 1.6, and the sky
    changes from cool to warm.
    """
    phase = 2 * np.pi * time / 3
    cosine, sine = np.cos(0.7 * np.sin(phase)), np.sin(0.7 * np.sin(phase))
    swing = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
    directions, colours = lights.directions.copy(), lights.colours.copy()
    directions[0] = swing @ directions[0]
    colours[0] *= 1.6 ** np.cos(phase)
    return replace(lights, directions=directions, colours=colours, sky=lights.sky * (1 + 0.15 * np.sin(phase) * WARM))


def key_visibility(vertices: np.ndarray, faces: torch.Tensor, towards: np.ndarray) -> np.ndarray:
    """Compute the share (V,) of the key lamp that reaches vertices (V,3), metres: a shadow map with softened edges."""
    side = np.cross(towards, [0.0, 1.0, 0.0])
    side /= np.linalg.norm(side)
    placed = vertices @ np.stack([side, np.cross(towards, side), -towards], 1)  # depth grows away from the lamp
    low, high = placed[:, :2].min(0), placed[:, :2].max(0)
    scale = (SHADOW_MAP - 3) / (high - low).max()
    xy = (placed[:, :2] - low) * scale + 1
    flat = np.concatenate([xy, placed[:, 2:]], 1).astype(np.float32)
    depth = rasterize_numba(torch.from_numpy(flat[None]), faces, (SHADOW_MAP, SHADOW_MAP)).depth[0].numpy()
    reach = np.arange(-2, 3)
    x, y = np.round(xy).astype(int).T
    rows = (y[:, None, None] + reach[:, None]).clip(0, SHADOW_MAP - 1)
    columns = (x[:, None, None] + reach).clip(0, SHADOW_MAP - 1)
    return (placed[:, 2, None, None] <= depth[rows, columns] + SHADOW_BIAS).mean((1, 2)).astype(np.float32)


def draw_mesh(
    picture: np.ndarray,
    projected: np.ndarray,
    placed: np.ndarray,
    surface: Surface,
    texture: np.ndarray,
    lights: Lights,
) -> np.ndarray:
    """Draw a mesh over a linear picture.

    Args:
        picture: (H,W,3) float32, drawn over.
        projected: (V,3) float32, pixels and depth.
        placed: (V,3) metres in the camera's frame.
        surface: the mesh.
        texture: (T,T,3) float32, linear albedo.
        lights: of the scene.

    Returns:
        Which pixels the mesh covers (H,W) bool.
    """
    faces = torch.from_numpy(surface.faces)
    fragments = rasterize_numba(torch.from_numpy(projected[None]), faces, picture.shape[:2])
    normals = surface.outward * mesh_normals(placed, surface.faces)
    lit = key_visibility(placed, faces, lights.directions[0])
    index = fragments.face_index[0].numpy()
    _shade(
        picture,
        index,
        fragments.barycentric[0].numpy(),
        surface.faces,
        surface.uv_faces,
        surface.uvs,
        surface.gloss,
        surface.sharp,
        surface.open,
        normals,
        lit,
        texture,
        lights.directions,
        lights.colours,
        lights.sky,
        lights.ground,
        lights.gloss,
        lights.sharpness,
    )
    return index >= 0


@numba.njit(cache=True, nogil=True)
def _shade(
    picture: np.ndarray,
    face_index: np.ndarray,
    barycentric: np.ndarray,
    faces: np.ndarray,
    uv_faces: np.ndarray,
    uvs: np.ndarray,
    face_gloss: np.ndarray,
    face_sharp: np.ndarray,
    face_open: np.ndarray,
    normals: np.ndarray,
    lit: np.ndarray,
    texture: np.ndarray,
    directions: np.ndarray,
    colours: np.ndarray,
    sky: np.ndarray,
    ground: np.ndarray,
    gloss: float,
    sharpness: float,
) -> None:
    """Shade by Lambert and Blinn-Phong of the lamps, hemisphere; bilinear texture; viewer along -z."""
    side = texture.shape[0]
    light = np.empty(3)
    shine = np.empty(3)
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            f = face_index[y, x]
            if f < 0:
                continue
            u = v = nx = ny = nz = visible = 0.0
            for c in range(3):
                w = barycentric[y, x, c]
                i, t = faces[f, c], uv_faces[f, c]
                u += w * uvs[t, 0]
                v += w * uvs[t, 1]
                nx += w * normals[i, 0]
                ny += w * normals[i, 1]
                nz += w * normals[i, 2]
                visible += w * lit[i]
            norm = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
            nx, ny, nz = nx / norm, ny / norm, nz / norm
            up = 0.5 - 0.5 * ny
            for c in range(3):
                light[c] = face_open[f] * (up * sky[c] + (1 - up) * ground[c])
                shine[c] = 0.0
            for k in range(directions.shape[0]):
                lx, ly, lz = directions[k]
                reach = face_open[f] * (visible if k == 0 else 1.0)
                diffuse = max(nx * lx + ny * ly + nz * lz, 0.0) * reach
                hn = np.sqrt(lx * lx + ly * ly + (lz - 1) ** 2) + 1e-9
                spark = max((nx * lx + ny * ly + nz * (lz - 1)) / hn, 0.0) ** (sharpness * face_sharp[f])
                for c in range(3):
                    light[c] += diffuse * colours[k, c]
                    if diffuse > 0:
                        shine[c] += spark * gloss * face_gloss[f] * reach * colours[k, c]
            tx = min(max(u * side - 0.5, 0.0), side - 1.001)
            ty = min(max(v * side - 0.5, 0.0), side - 1.001)
            i, j = int(ty), int(tx)
            a, b = ty - i, tx - j
            for c in range(3):
                albedo = (1 - a) * ((1 - b) * texture[i, j, c] + b * texture[i, j + 1, c]) + a * (
                    (1 - b) * texture[i + 1, j, c] + b * texture[i + 1, j + 1, c]
                )
                picture[y, x, c] = albedo * light[c] + shine[c]


def pink_noise(rng: np.random.Generator, size: int, slope: float = 1.0) -> np.ndarray:
    """Draw noise (S,S) with amplitudes as 1/f^slope, mean 0 and standard deviation 1."""
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = np.inf
    spectrum = (rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)) / frequency**slope
    noise = np.fft.irfft2(spectrum, (size, size))
    return (noise / noise.std()).astype(np.float32)


def dead_leaves(rng: np.random.Generator, size: int, leaves: int = 160) -> np.ndarray:
    """Draw a background (S,S,3), sRGB 0..1: opaque shapes, radii as a power law, 1/f noise, defocused."""
    picture = np.full((size, size, 3), rng.uniform(0.1, 0.8), np.float32)
    low, high = 0.03 * size, 0.6 * size
    tone, spread = rng.uniform(0.2, 0.7), rng.uniform(0.05, 0.25)
    for _ in range(leaves):
        # density r^-3: as many pixels covered by small as by large ones, which gives edges at all scales
        radius = (low**-2 - rng.random() * (low**-2 - high**-2)) ** -0.5
        at = rng.uniform(-0.1, 1.1, 2) * size
        grey = np.clip(rng.normal(tone, spread), 0.02, 0.98)
        colour = (grey * (1 + rng.normal(0, 0.08, 3))).clip(0, 1).tolist()
        box = (at.tolist(), (2 * radius * rng.uniform(0.4, 1, 2)).tolist(), rng.uniform(0, 180))
        if rng.random() < 0.5:
            cv2.ellipse(picture, box, colour, -1, cv2.LINE_AA)
        else:
            cv2.fillConvexPoly(picture, np.round(cv2.boxPoints(box)).astype(np.int32), colour, cv2.LINE_AA)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    gradient = rng.normal(0, 0.12) * ramp[:, None] + rng.normal(0, 0.12) * ramp
    picture *= (1 + gradient + rng.uniform(0.03, 0.12) * pink_noise(rng, size))[..., None]
    return cv2.GaussianBlur(picture.clip(0, 1), (0, 0), size * rng.uniform(0.002, 0.012))


def skin_detail(rng: np.random.Generator, texture: np.ndarray, skin: np.ndarray, beard: np.ndarray) -> np.ndarray:
    """Add to an albedo what no linear basis holds: blotches, pores, moles, freckles, stubble.

    Args:
        rng: of all that is random.
        texture: (T,T,3) float32, albedo in 0..1.
        skin: (T,T) 0..1, where skin is.
        beard: (T,T) 0..1, where hair may grow.
    """
    size = len(texture)
    unit = size / 1024
    blotch = pink_noise(rng, size, 1.2) * rng.uniform(0.03, 0.08)
    pores = cv2.GaussianBlur(rng.normal(size=(size, size)).astype(np.float32), (0, 0), 1.3 * unit)
    change = blotch[..., None] * [0.6, 1.2, 1.1] + (rng.uniform(0.03, 0.09) / pores.std() * pores)[..., None]
    darker: np.ndarray = np.zeros((size, size), np.float32)
    _spots(rng, darker, rng.poisson(150), (1.5 * unit, 4 * unit), (0.2, 0.6))
    if rng.random() < 0.4:
        _spots(rng, darker, rng.poisson(6000), (0.8 * unit, 2.2 * unit), (0.1, 0.35))
    darker = cv2.GaussianBlur(darker, (0, 0), 0.8 * unit)
    if rng.random() < 0.35:
        bristles = cv2.GaussianBlur((rng.random((size, size)) < 0.10).astype(np.float32), (0, 0), 0.8 * unit)
        darker = np.maximum(darker, (beard * bristles * rng.uniform(1.5, 3)).clip(0, 0.6))
    factor = (1 + change) * (1 - darker[..., None] * [0.8, 0.95, 1.0])
    return (texture * (1 + skin[..., None] * (factor - 1))).clip(0.01, 1).astype(np.float32)


def _spots(
    rng: np.random.Generator, mask: np.ndarray, count: int, radius: tuple[float, float], alpha: tuple[float, float]
) -> None:
    """Draw `count` discs into a mask (T,T)."""
    for x, y, r, a in rng.uniform([0, 0, radius[0], alpha[0]], [*mask.shape, radius[1], alpha[1]], (count, 4)):
        cv2.circle(mask, (round(x * 16), round(y * 16)), max(round(r * 16), 1), a, -1, cv2.LINE_AA, 4)


def hand_sprite(rng: np.random.Generator, size: int = 256) -> np.ndarray:
    """Draw a hand-like thing (S,S,4), linear RGB and alpha in 0..1: a palm with four fingers and a forearm."""
    alpha = np.zeros((size, size), np.float32)
    middle = size / 2
    cv2.ellipse(alpha, ((middle, 0.6 * size), (0.36 * size, 0.40 * size), 0), 1.0, -1)
    for k, spread in enumerate(np.linspace(-0.45, 0.45, 4) * rng.uniform(0.4, 1)):
        root = np.array([middle + (k - 1.5) * 0.09 * size, 0.5 * size])
        tip = root + rng.uniform(0.24, 0.40) * size * np.array([np.sin(spread), -np.cos(spread)])
        begin, end = (np.round(p).astype(int).tolist() for p in (root, tip))
        cv2.line(alpha, begin, end, 1.0, round(0.085 * size), cv2.LINE_AA)
    cv2.rectangle(alpha, (round(0.37 * size), round(0.7 * size)), (round(0.63 * size), size), 1.0, -1)
    inner = cv2.distanceTransform((alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 5) / (0.05 * size)
    relief = 0.45 + 0.55 * inner.clip(0, 1) ** 0.5
    skin = np.array([0.62, 0.38, 0.28]) * rng.uniform(0.25, 1.1)
    colour = skin * (relief * (1 + 0.06 * pink_noise(rng, size)))[..., None]
    return np.concatenate([colour, alpha[..., None]], 2).astype(np.float32)


def paste(picture: np.ndarray, sprite: np.ndarray, at: np.ndarray, side: float, angle: float) -> np.ndarray:
    """Lay a sprite (S,S,4), `side` pixels large, rotated by `angle` (radians), over a picture at (2,).

    Returns:
        Alpha (H,W).
    """
    scale = side / len(sprite)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offset = at - linear @ np.full(2, (len(sprite) - 1) / 2)
    matrix = np.concatenate([linear, offset[:, None]], 1)
    laid = cv2.warpAffine(sprite, matrix, picture.shape[1::-1], flags=cv2.INTER_LINEAR)
    alpha = laid[..., 3]
    picture *= 1 - alpha[..., None]
    picture += laid[..., :3] * alpha[..., None]
    return alpha


def develop(rng: np.random.Generator, linear: np.ndarray, gain: float, noise: float, blur: float) -> np.ndarray:
    """Take a picture (H,W,3) uint8 of linear light (H,W,3): defocus, exposure, shot and read noise, gamma."""
    light = cv2.GaussianBlur(linear, (0, 0), blur) * gain
    light = light + rng.normal(size=light.shape).astype(np.float32) * noise * np.sqrt(light.clip(0) + 0.02)
    shoulder = np.where(light > 0.8, 0.8 + 0.2 * np.tanh((light - 0.8) / 0.2), light)  # highlights roll off
    return (255 * shoulder.clip(0, 1) ** (1 / GAMMA) + 0.5).astype(np.uint8)


def mane(width: float) -> np.ndarray:
    """Make points (48,3) whose hull is long hair behind the head, head frame."""
    angle = np.linspace(0, 2 * np.pi, 24)
    ring = np.stack([width * np.cos(angle), 0.16 * np.sin(angle) + 0.04, np.full(24, 0.06)], 1)
    return np.concatenate([ring, ring + [0, 0, 0.06]])


def shoulders(position: np.ndarray) -> np.ndarray:
    """Outline a torso (N,3) under a head at `position` (3,), camera frame; it does not rotate with the head."""
    neck, arm = [[0.05, 0.05], [0.055, 0.115], [0.09, 0.13]], [[0.17, 0.155], [0.21, 0.19], [0.23, 0.26], [0.24, 0.9]]
    right = np.array(neck + arm)
    outline = np.concatenate([right, right[::-1] * [-1, 1]])
    return np.concatenate([outline, np.full((len(outline), 1), 0.06)], 1) + position


def glasses(radius: float, eyes: np.ndarray) -> list[np.ndarray]:
    """Make two rings and a bridge before the corners of the eyes (4,3), head frame."""
    centres = np.stack([eyes[:2].mean(0), eyes[2:].mean(0)]) + [0, 0.003, -0.015]
    angle = np.linspace(0, 2 * np.pi, 40)
    ring = np.stack([1.15 * np.cos(angle), np.sin(angle), 0 * angle], 1) * radius
    bridge = np.stack([centres[0] + [radius, 0, 0], centres[1] - [radius, 0, 0]])
    return [*(c + ring for c in centres), bridge]


def fill(picture: np.ndarray, points: np.ndarray, colour: np.ndarray, hull: bool = True) -> None:
    """Fill the hull, or the outline, of points (N,2+) with a linear colour (3,)."""
    xy = np.round(points[:, :2] * 16).astype(np.int32)
    cv2.fillPoly(picture, [cv2.convexHull(xy) if hull else xy], colour.tolist(), cv2.LINE_AA, 4)
