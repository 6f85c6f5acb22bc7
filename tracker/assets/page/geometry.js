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

// A crop on a leash: still while the face stays near its middle, else drawn along smoothly. Its settings are those of
// tracker.json.
export class CropStabiliser {
  constructor({size, max_offset, max_scale, max_roll, slack, time_constant, cut}) {
    Object.assign(this, {size, slack, constant: time_constant, cut, ranges: [max_offset, max_scale, max_roll * Math.PI / 180]});
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
    if (Math.max(...errors) > this.cut) return target;
    const [a, b, c] = errors.map((error) => leash(error, this.slack, Math.exp(-elapsed / this.constant)));
    return {
      centre: target.centre.map((value, axis) => value - shift[axis] * a * reach),
      log: target.log - zoom * b * maxScale,
      angle: target.angle - roll * c * maxRoll,
    };
  }
}

const leash = (error, slack, decay) => {
  if (!(error > 0)) return 1;
  const excess = decay * Math.max(error - slack, 0);
  return (Math.min(error, slack) + (1 - slack) * Math.tanh(excess / (1 - slack))) / error;
};

// A part of a picture {data (RGBA or RGB), width, height} made smaller by the mean over areas: {data (RGB), width, height}.
export const shrunk = (picture, left, top, right, bottom, width, height) => {
  const rows = bottom - top, stride = picture.data.length / (picture.width * picture.height);
  const narrow = new Float32Array(rows * width * 3), data = new Uint8ClampedArray(width * height * 3), across = cells(right - left, width);
  for (let y = 0; y < rows; y++) {
    narrowed(picture.data, ((y + top) * picture.width + left) * stride, stride, across, narrow, y * width * 3);
  }
  const sum = new Float32Array(width * 3), {first, end, weights} = cells(rows, height);
  for (let y = 0, w = 0; y < height; y++) {
    sum.fill(0);
    for (let row = first[y]; row < end[y]; row++, w++) {
      const weight = weights[w], start = row * width * 3;
      for (let i = 0; i < sum.length; i++) sum[i] += weight * narrow[start + i];
    }
    data.set(sum, y * width * 3); // clamped arrays round
  }
  return {data, width, height};
};

const narrowed = (from, start, stride, {first, end, weights}, to, place) => {
  for (let x = 0, w = 0; x < first.length; x++) {
    let red = 0, green = 0, blue = 0;
    for (let pixel = first[x]; pixel < end[x]; pixel++, w++) {
      const at = start + pixel * stride, weight = weights[w];
      red += weight * from[at];
      green += weight * from[at + 1];
      blue += weight * from[at + 2];
    }
    to[place + 3 * x] = red;
    to[place + 3 * x + 1] = green;
    to[place + 3 * x + 2] = blue;
  }
};

// Of each of `count` cells along `length` pixels the first pixel that it covers and the one after the last, and one after
// the other how much of each is its own.
const cells = (length, count) => {
  const first = new Int32Array(count), end = new Int32Array(count), weights = [];
  for (let cell = 0; cell < count; cell++) {
    const from = cell * length / count, to = (cell + 1) * length / count;
    first[cell] = Math.floor(from + 1e-9);
    end[cell] = Math.ceil(to - 1e-9);
    for (let pixel = first[cell]; pixel < end[cell]; pixel++) {
      weights.push((Math.min(to, pixel + 1) - Math.max(from, pixel)) * count / length);
    }
  }
  return {first, end, weights: Float32Array.from(weights)};
};

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

// Add to `out`, from `place` on, a picture's colour between pixels, in whole numbers.
export const sample = ({data, width, height}, x, y, out, place) => {
  const left = Math.floor(x), top = Math.floor(y), right = x - left, down = y - top;
  for (let corner = 0; corner < 4; corner++) {
    const column = left + (corner & 1), row = top + (corner >> 1);
    if (column < 0 || row < 0 || column >= width || row >= height) continue;
    const weight = (corner & 1 ? right : 1 - right) * (corner >> 1 ? down : 1 - down), at = (row * width + column) * 3;
    out[place] += weight * data[at];
    out[place + 1] += weight * data[at + 1];
    out[place + 2] += weight * data[at + 2];
  }
  for (let channel = place; channel < place + 3; channel++) out[channel] = Math.round(out[channel]);
};
