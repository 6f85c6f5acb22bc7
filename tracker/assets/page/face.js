// The face in the frames of a video: found once, then followed by its own landmarks. The twin of selftrack's
// tracker/landmarks (boxes, search, follower) for one face that is about upright, with the settings of tracker.json.

import {apply, boundingBox, compose, CropStabiliser, faceSimilarity, invert, lag, shrunk, warp} from "./geometry.js";

export const BOX_SIDE = 128, SIDE = 192;
const MAX_INSIDE = 0.7, TILE_OVERLAP = 48, COARSEST = 5, LIKELY = 0.6, ATTEMPTS = 4;
const FILLS = [0.35, 0.5, 0.65], SIDE_PER_FACE = 1.5;

const area = ([left, top, right, bottom]) => Math.max(right - left, 0) * Math.max(bottom - top, 0);
const shared = (a, b) => area([Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])]);
const overlap = (a, b) => shared(a, b) / Math.max(area(a) + area(b) - shared(a, b), 1e-30);
const inside = (a, b) => shared(a, b) / Math.max(Math.min(area(a), area(b)), 1e-30);

// Boxes of the same face, averaged by their scores; none that lies in a surer one.
const merged = (faces, maxOverlap) => {
  const pending = [...faces].sort((a, b) => b.score - a.score), out = [];
  while (pending.length) {
    const best = pending[0], group = pending.filter((face) => face === best || overlap(face.corners, best.corners) > maxOverlap);
    const total = group.reduce((sum, face) => sum + face.score, 0);
    const mean = (name) => best[name].map((_, i) => group.reduce((sum, face) => sum + face.score * face[name][i], 0) / total);
    const face = {corners: mean("corners"), eyes: mean("eyes"), score: best.score};
    if (!out.some((kept) => inside(kept.corners, face.corners) > MAX_INSIDE)) out.push(face);
    for (const one of group) pending.splice(pending.indexOf(one), 1);
  }
  return out.sort((a, b) => area(b.corners) - area(a.corners));
};

const starts = (length) => {
  const out = [];
  for (let start = 0; start < length - BOX_SIDE; start += BOX_SIDE - TILE_OVERLAP) out.push(start);
  return [...out, Math.max(length - BOX_SIDE, 0)];
};

const reduced = (picture, side) => {
  const {width, height} = picture, longest = Math.max(width, height), ratio = Math.min(side / longest, 1);
  const sides = [width, height].map((n) => Math.max(Math.round(n * ratio), 1));
  return shrunk(picture, 0, 0, width, height, ...sides);
};

// The region of a face by its box: 1.5 times as large, the eyes level.
const regionOf = ({corners: [left, top, right, bottom], eyes}) => {
  const angle = Math.atan2(eyes[3] - eyes[1], eyes[2] - eyes[0]), middle = (SIDE - 1) / 2;
  const scale = SIDE / (SIDE_PER_FACE * Math.max(right - left, bottom - top));
  const cos = Math.cos(angle) * scale, sin = Math.sin(angle) * scale, x = (left + right) / 2, y = (top + bottom) / 2;
  return [cos, sin, middle - cos * x - sin * y, -sin, cos, middle + sin * x - cos * y];
};

class FaceSearch {
  // `boxes` and `points` run the networks: pictures as numbers 0..255 -> their outputs by name.
  constructor(boxes, points, settings) {
    Object.assign(this, {boxes, points, settings});
  }

  async boxesOf(tile) {
    const {corners, eyes, scores} = await this.boxes(tile);
    return Array.from(scores, (score, i) => ({score, corners: Array.from(corners.subarray(4 * i, 4 * i + 4)), eyes: Array.from(eyes.subarray(4 * i, 4 * i + 4))}));
  }

  // The faces of ever larger copies of a picture, level by level, the largest first.
  async *levels(picture) {
    const longest = Math.max(picture.width, picture.height);
    const {min_score, max_overlap, levels: least} = this.settings.box, levels = Math.max(least, Math.ceil(Math.log2(longest / COARSEST / BOX_SIDE)) + 1);
    const base = reduced(picture, BOX_SIDE << (levels - 1));
    for (let side = BOX_SIDE; ; side *= 2) {
      const copy = reduced(base, side), scale = [picture.width / copy.width, picture.height / copy.height], found = [];
      for (const top of starts(copy.height)) {
        for (const left of starts(copy.width)) {
          for (const face of await this.boxesOf(cut(copy, left, top))) {
            if (face.score < min_score) continue;
            const moved = (values) => values.map((value, i) => (value + (i % 2 ? top : left)) * scale[i % 2] - 0.5);
            found.push({score: face.score, corners: moved(face.corners), eyes: moved(face.eyes)});
          }
        }
      }
      yield merged(found, max_overlap);
      if (2 * side > Math.max(base.width, base.height)) return;
    }
  }

  // The faces of a picture, the largest first, of the first level that shows one.
  async all(picture) {
    for await (const faces of this.levels(picture)) {
      const found = [];
      for (const face of faces) {
        const about = await this.read(picture, regionOf(face), "alone");
        if (!about || found.some((known) => overlap(boundingBox(known.points), boundingBox(about.points)) > this.settings.box.max_overlap)) continue;
        if (await this.score(picture, about.points, [FILLS[1]]) < LIKELY) continue;
        const sure = await this.read(picture, faceSimilarity(about.points, SIDE));
        if (sure && await this.score(picture, sure.points, FILLS) >= this.settings.min_score) found.push(sure);
      }
      if (found.length) return found.sort((a, b) => area(boundingBox(b.points)) - area(boundingBox(a.points)));
    }
    return [];
  }

  // The landmark network's answer for a region, by default the mean of both ways to see it; null if it sees no face.
  async read(picture, region, ways = "points") {
    const found = await this.points(warp(picture, region, SIDE)), presence = found.presence[0];
    return presence < this.settings.min_presence ? null : {points: Float32Array.from(apply(invert(region), found[ways])), presence};
  }

  // How much a face looks like one to the box detector, cut out upright in some sizes.
  async score(picture, points, fills) {
    const upright = faceSimilarity(points, BOX_SIDE), middle = (BOX_SIDE - 1) / 2;
    let sum = 0;
    for (const fill of fills) {
      const scale = fill * SIDE_PER_FACE, shift = middle * (1 - scale);
      const region = compose([scale, 0, shift, 0, scale, shift], upright);
      const {scores} = await this.boxes(completed(picture, region));
      sum += scores.reduce((most, score) => Math.max(most, score), 0);
    }
    return sum / fills.length;
  }
}

const cut = ({data, width, height}, left, top) => {
  const out = new Float32Array(BOX_SIDE * BOX_SIDE * 3);
  for (let y = 0; y < Math.min(BOX_SIDE, height - top); y++) {
    const start = ((y + top) * width + left) * 3, count = Math.min(BOX_SIDE, width - left) * 3;
    out.set(data.subarray(start, start + count), y * BOX_SIDE * 3);
  }
  return out;
};

// The crop around a face; what lies off the picture is filled with the face's other half.
const completed = (picture, region) => {
  const out = warp(picture, region, BOX_SIDE), whole = out.slice(), [a, b, x0, c, d, y0] = invert(region);
  for (let y = 0; y < BOX_SIDE; y++) {
    for (let x = 0; x < BOX_SIDE; x++) {
      const column = Math.round(a * x + b * y + x0), row = Math.round(c * x + d * y + y0);
      if (column >= 0 && row >= 0 && column < picture.width && row < picture.height) continue;
      const place = (y * BOX_SIDE + x) * 3, other = (y * BOX_SIDE + BOX_SIDE - 1 - x) * 3;
      out.set(whole.subarray(other, other + 3), place);
    }
  }
  return out;
};

// Follows one face through a video; its memory is the last points and the last region.
export class FaceFollower {
  constructor(boxes, points, settings) {
    this.settings = settings;
    this.search = new FaceSearch(boxes, points, settings);
    this.region = new CropStabiliser(settings.region);
    this.reset();
  }

  reset() {
    this.last = this.place = null;
    this.looked = -Infinity;
    this.region.reset();
  }

  // The face of the next picture: {points, presence}, or null.
  async next(picture, time) {
    let found = this.last && await this.follow(picture, time);
    if (!found) {
      this.region.reset();
      this.looked = time;
      const faces = await this.search.all(picture), near = (face) => this.place ? overlap(boundingBox(face.points), this.place) : 0;
      const nearest = [...faces].sort((a, b) => near(b) - near(a))[0];
      found = nearest && near(nearest) > this.settings.same_face ? nearest : faces[0] ?? null;
    }
    this.last = found;
    if (found) this.place = boundingBox(found.points);
    return found;
  }

  async follow(picture, time) {
    let region = this.region.next(this.last.points, time);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const found = await this.search.read(picture, region);
      const off = found ? lag(region, found.points, SIDE) : Infinity;
      if (off > this.settings.max_jump) return null;
      if (off < this.settings.max_lag) return await this.isFace(picture, found, time) ? found : null;
      region = faceSimilarity(found.points, SIDE); // the network expects a face to fill its region
    }
    return null;
  }

  async isFace(picture, found, time) {
    if (time < this.looked + this.settings.every) return true;
    this.looked = time;
    return await this.search.score(picture, found.points, FILLS) >= this.settings.min_followed;
  }
}
