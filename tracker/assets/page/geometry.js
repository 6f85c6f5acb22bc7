// Similarities, crops of a picture, and the crop that does not shake: the twins of selftrack's tracker/geometry/crop.py.
//
// Picture frame: pixels, x right, y down, the centre of the top-left pixel is (0, 0). A transform is [a, b, x, c, d, y]:
// it takes (u, v) to (a u + b v + x, c u + d v + y). Points are one array of x and y in turns.

const EYES = [33, 263], HAIRLINE = 10, CHIN = 152, MESH_POINTS = 468;
const SIDE_PER_FACE = 1.5;

export const apply = ([a, b, x, c, d, y], points) => {
  const out = new Float64Array(points.length);
  for (let i = 0; i < points.length; i += 2) {
    out[i] = a * points[i] + b * points[i + 1] + x;
    out[i + 1] = c * points[i] + d * points[i + 1] + y;
  }
  return out;
};

export const invert = ([a, b, x, c, d, y]) => {
  const det = a * d - b * c;
  const [p, q, r, s] = [d / det, -b / det, -c / det, a / det];
  return [p, q, -(p * x + q * y), r, s, -(r * x + s * y)];
};

// The transform that does `first`, then `second`.
export const compose = ([a, b, x, c, d, y], [e, f, u, g, h, v]) =>
  [a * e + b * g, a * f + b * h, a * u + b * v + x, c * e + d * g, c * f + d * h, c * u + d * v + y];

export const scaleOf = ([a, b, , c, d]) => Math.sqrt(Math.abs(a * d - b * c));

const fromUpright = ([x, y], side, angle, size) => {
  const scale = size / side, cos = scale * Math.cos(angle), sin = scale * Math.sin(angle), middle = (size - 1) / 2;
  return [cos, sin, middle - scale * x, -sin, cos, middle - scale * y];
};

const turned = ([x, y], angle) =>
  [Math.cos(angle) * x - Math.sin(angle) * y, Math.sin(angle) * x + Math.cos(angle) * y];

// Left, top, right, bottom of points, without the irises.
export const boundingBox = (points) => {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (let i = 0; i < 2 * MESH_POINTS; i += 2) {
    box[0] = Math.min(box[0], points[i]);
    box[1] = Math.min(box[1], points[i + 1]);
    box[2] = Math.max(box[2], points[i]);
    box[3] = Math.max(box[3], points[i + 1]);
  }
  return box;
};

const upright = (points) => {
  const at = (row) => [points[2 * row], points[2 * row + 1]];
  const [left, right, top, chin] = [...EYES, HAIRLINE, CHIN].map(at);
  const up = [top[0] - chin[0], top[1] - chin[1]];
  const angle = Math.atan2(right[1] - left[1] + up[0], right[0] - left[0] - up[1]);
  const [low, high] = [[Infinity, Infinity], [-Infinity, -Infinity]];
  for (let row = 0; row < MESH_POINTS; row++) {
    turned(at(row), -angle).forEach((value, axis) => {
      low[axis] = Math.min(low[axis], value);
      high[axis] = Math.max(high[axis], value);
    });
  }
  const centre = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
  return {centre, side: SIDE_PER_FACE * Math.max(high[0] - low[0], high[1] - low[1]), angle};
};

// The similarity that puts a face upright into the middle of a square crop of a size.
export const faceSimilarity = (points, size) => {
  const {centre, side, angle} = upright(points);
  return fromUpright(centre, side, angle, size);
};

// How far points are from filling a crop of a size as they should: offset in sides or logarithm of the relative size.
export const lag = (region, points, size) => {
  const [left, top, right, bottom] = boundingBox(apply(region, points)), middle = (size - 1) / 2;
  const offset = Math.hypot((left + right) / 2 - middle, (top + bottom) / 2 - middle) / size;
  return Math.max(offset, Math.abs(Math.log(SIDE_PER_FACE * Math.max(right - left, bottom - top) / size)));
};

// A crop on a leash: still while the face stays near its middle, else drawn along smoothly.
export class CropStabiliser {
  constructor(size, maxOffset, maxScale, maxRoll) {
    Object.assign(this, {size, ranges: [maxOffset, maxScale, maxRoll * Math.PI / 180]});
    this.reset();
  }

  reset() {
    this.last = null;
  }

  next(points, time) {
    const {centre, side, angle} = upright(points), target = {centre: turned(centre, angle), log: Math.log(side), angle};
    this.last = this.last ? this.drawn(target, time - this.time) : target;
    this.time = time;
    return fromUpright(turned(this.last.centre, -this.last.angle), Math.exp(this.last.log), this.last.angle, this.size);
  }

  drawn(target, elapsed) {
    const {last, ranges: [maxOffset, maxScale, maxRoll]} = this, reach = Math.exp(target.log) * maxOffset;
    const shift = target.centre.map((value, axis) => (value - last.centre[axis]) / reach);
    const zoom = (target.log - last.log) / maxScale;
    const roll = Math.atan2(Math.sin(target.angle - last.angle), Math.cos(target.angle - last.angle)) / maxRoll;
    const errors = [Math.hypot(...shift), Math.abs(zoom), Math.abs(roll)];
    if (Math.max(...errors) > CUT) return target;
    const [a, b, c] = errors.map((error) => leash(error, Math.exp(-elapsed / TIME_CONSTANT)));
    return {
      centre: target.centre.map((value, axis) => value - shift[axis] * a * reach),
      log: target.log - zoom * b * maxScale,
      angle: target.angle - roll * c * maxRoll,
    };
  }
}

const SLACK = 0.5, TIME_CONSTANT = 0.15, CUT = 8;

const leash = (error, decay) => {
  if (!(error > 0)) return 1;
  const excess = decay * Math.max(error - SLACK, 0);
  return (Math.min(error, SLACK) + (1 - SLACK) * Math.tanh(excess / (1 - SLACK))) / error;
};

// A part of a picture {data (RGBA), width, height} made smaller by the mean over areas: {data (RGB), width, height}.
export const shrunk = (picture, left, top, right, bottom, width, height) => {
  const stride = picture.data.length / (picture.width * picture.height), columns = shares(right - left, width);
  const middle = new Float32Array((bottom - top) * width * 3);
  for (let y = 0; y < bottom - top; y++) {
    const row = ((y + top) * picture.width + left) * stride;
    columns.forEach(([first, weights], x) => add(picture.data, row + first * stride, stride, weights, middle, (y * width + x) * 3));
  }
  const data = new Uint8ClampedArray(width * height * 3);
  const sum = new Float32Array(3);
  shares(bottom - top, height).forEach(([first, weights], y) => {
    for (let x = 0; x < width; x++) {
      sum.fill(0);
      add(middle, (first * width + x) * 3, width * 3, weights, sum, 0);
      data.set(sum, (y * width + x) * 3); // clamped arrays round
    }
  });
  return {data, width, height};
};

const add = (from, start, step, weights, to, place) => {
  for (let i = 0; i < weights.length; i++) {
    const at = start + i * step, weight = weights[i];
    to[place] += weight * from[at];
    to[place + 1] += weight * from[at + 1];
    to[place + 2] += weight * from[at + 2];
  }
};

// Of each of `count` cells along `length` pixels the first pixel that it covers, and how much of each is its own.
const shares = (length, count) => Array.from({length: count}, (_, cell) => {
  const from = cell * length / count, to = (cell + 1) * length / count, first = Math.floor(from + 1e-9);
  const weights = [];
  for (let pixel = first; pixel < to - 1e-9; pixel++) {
    weights.push((Math.min(to, pixel + 1) - Math.max(from, pixel)) * count / length);
  }
  return [first, weights];
});

// The crop (size, size, 3) as numbers 0..255: bilinear, averaged over areas beforehand where it makes the picture
// smaller, black outside of the picture.
export const warp = (picture, transform, size) => {
  const out = new Float32Array(size * size * 3);
  const corners = apply(invert(transform), [-1, -1, size, -1, size, size, -1, size]), bounds = [picture.width, picture.height];
  const [low, high] = [0, 1].map((end) => [0, 1].map((axis) => {
    const values = [0, 1, 2, 3].map((corner) => corners[2 * corner + axis]);
    const edge = end ? Math.ceil(Math.max(...values)) + 1 : Math.floor(Math.min(...values));
    return Math.min(Math.max(edge, 0), bounds[axis]);
  }));
  if (high[0] <= low[0] || high[1] <= low[1]) return out;
  const scale = Math.min(scaleOf(transform), 1);
  const small = [0, 1].map((axis) => Math.max(Math.round((high[axis] - low[axis]) * scale), 1));
  const region = shrunk(picture, ...low, ...high, ...small), ratio = small.map((n, axis) => n / (high[axis] - low[axis]));
  // pixel centres are integers, so edges lie at -0.5
  const fromRegion = [1 / ratio[0], 0, 0.5 / ratio[0] - 0.5 + low[0], 0, 1 / ratio[1], 0.5 / ratio[1] - 0.5 + low[1]];
  const [a, b, x0, c, d, y0] = invert(compose(transform, fromRegion));
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      sample(region, a * x + b * y + x0, c * x + d * y + y0, out, (y * size + x) * 3);
    }
  }
  return out;
};

const sample = ({data, width, height}, x, y, out, place) => {
  const left = Math.floor(x), top = Math.floor(y), right = x - left, down = y - top;
  if (left < -1 || top < -1 || left >= width || top >= height) return;
  const weights = [(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down];
  for (let channel = 0; channel < 3; channel++) {
    let sum = 0;
    for (let corner = 0; corner < 4; corner++) {
      const column = left + (corner & 1), row = top + (corner >> 1);
      if (column >= 0 && row >= 0 && column < width && row < height) {
        sum += weights[corner] * data[(row * width + column) * 3 + channel];
      }
    }
    out[place + channel] = Math.round(sum);
  }
};
