// What is between the lips: the twin of selftrack's tracker/refinement/mouth.py.

import {sample} from "./geometry.js";

const LUMA = [0.299, 0.587, 0.114];

// Look between the lips of a crop (side, side, 3), numbers 0..255, with points in its pixels: [share of the opening's
// height that teeth fill, height of the gap, height of the opening], in pixels. `about` has the edges of the lips, each
// by points from the image's left to its right, and the settings.
export const seeTeeth = (crop, side, points, about) => {
  const {columns, rows} = about, upper = along(points, about.upper, about), lower = along(points, about.lower, about);
  const lips = [[upper, about.upper_outline], [lower, about.lower_outline]].map(([edge, name]) => {
    const outer = along(points, name, about);
    return colours(crop, side, edge.map((place, column) => between(place, outer[column], 0.5)));
  });
  const luma = lips.map((lip) => quantile(lip.map((colour) => colour.luma), 0.5));
  const red = Math.min(...lips.map((lip) => quantile(lip.map((colour) => colour.red), 0.5)));
  const limit = red > about.colourless ? about.red * red : -Infinity;
  const bright = Math.max(...luma), dark = about.dark * (luma[0] + luma[1]) / 2, shares = [], gaps = [], heights = [];
  for (let column = 0; column < columns; column++) {
    const places = Array.from({length: rows}, (_, row) => between(upper[column], lower[column], row / (rows - 1)));
    const seen = colours(crop, side, places), teeth = seen.map((c) => c.luma > bright && c.red < limit);
    const first = teeth.indexOf(true), last = teeth.lastIndexOf(true), height = distance(upper[column], lower[column]);
    const hollow = seen.filter((c, row) => !teeth[row] && ((first >= 0 && first < row && row < last) || c.luma < dark));
    shares.push(teeth.filter(Boolean).length / rows);
    gaps.push(hollow.length / rows * height);
    heights.push(height);
  }
  return [quantile(shares, 0.5), quantile(gaps, about.deep), quantile(heights, 0.5)];
};

// So many places in the middle of an edge of the lips.
const along = (points, edge, {columns, middle: [from, to]}) => Array.from({length: columns}, (_, column) => {
  const at = from + (to - from) * column / (columns - 1), left = Math.min(Math.floor(at), edge.length - 2);
  const [a, b] = [edge[left], edge[left + 1]].map((point) => [points[2 * point], points[2 * point + 1]]);
  return between(a, b, at - left);
});

// Brightness, and how red for that, of a crop at places.
const colours = (crop, side, places) => places.map(([x, y]) => {
  const rgb = new Float32Array(3);
  sample({data: crop, width: side, height: side}, x, y, rgb, 0);
  const luma = LUMA.reduce((sum, weight, channel) => sum + weight * rgb[channel], 0);
  return {luma, red: (rgb[0] - rgb[1]) / Math.max(luma, 1)};
});

const between = (a, b, share) => [0, 1].map((axis) => a[axis] + (b[axis] - a[axis]) * share);
const distance = (a, b) => Math.hypot(b[0] - a[0], b[1] - a[1]);

const quantile = (values, share) => {
  const sorted = [...values].sort((a, b) => a - b), at = share * (sorted.length - 1), left = Math.floor(at);
  return sorted[left] + (at - left) * (sorted[Math.min(left + 1, sorted.length - 1)] - sorted[left]);
};
