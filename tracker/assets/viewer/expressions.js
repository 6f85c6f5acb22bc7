// Named expressions over curves, by the arithmetic of track-export --preset (selftrack.tracker.export.presets).
"use strict";
/** presets are curves by name; the rest says how curves (in the order of names) become controls and back. */
function makeExpressions({ presets, means, turns, exclusive, lower, upper, parted, behind }, names) {
  const ROUNDING = 1e-6;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  /** A vector times a matrix, of which each column is a list of [row, entry]. */
  function product(vector, columns) {
    const result = new Array(columns.length);
    for (let k = 0; k < columns.length; k++) {
      let sum = 0;
      for (let i = 0; i < columns[k].length; i++) sum += columns[k][i][1] * vector[columns[k][i][0]];
      result[k] = sum;
    }
    return result;
  }

  function within(controls) {
    const clipped = controls.map((value, k) => clamp(value, lower[k], upper[k]));
    clipped[parted] = Math.min(clipped[parted], 1 - clipped[behind]);
    return clipped;
  }

  /** Controls of curves, in which of two that exclude one another the first has the difference. */
  function toAxes(curves) {
    const controls = product(curves, means);
    controls[behind] += Math.min(controls[parted], 0) / 2;
    const axes = within(controls);
    for (const [first, second] of exclusive) {
      axes[first] -= axes[second];
      axes[second] = 0;
    }
    return axes;
  }

  function toCurves(axes) {
    const controls = [...axes];
    for (const [first, second] of exclusive) controls[second] = -axes[first];
    return product(within(controls), turns).map((value) => clamp(value, 0, 1));
  }

  /** Which curves a change of axes moves. */
  function movedBy(added) {
    const moved = added.map((value) => Math.abs(value) > ROUNDING);
    for (const pair of [...exclusive, [parted, behind]]) {
      const either = pair.some((k) => moved[k]);
      for (const k of pair) moved[k] = either;
    }
    return turns.map((column) => column.some(([control]) => moved[control]));
  }

  const presetAxes = Object.values(presets).map((values) => toAxes(names.map((curve) => values[curve] ?? 0)));
  let last = { intensities: [], added: [], moved: [] }; // mostly the same from row to row

  /** What expressions of an intensity each add to axes, and which curves that moves. */
  function sumOf(intensities) {
    if (last.intensities.join() === intensities.join()) return last;
    const sum = lower.map((_, k) => presetAxes.reduce((total, axes, i) => total + intensities[i] * axes[k], 0));
    const added = toAxes(toCurves(sum));
    return (last = { intensities, added, moved: movedBy(added) });
  }

  return {
    names: Object.keys(presets),
    /** Curves with the expressions of an intensity each laid over them: they fill what room the performance leaves. */
    over(own, intensities) {
      const { added, moved } = sumOf(intensities), axes = toAxes(own);
      const edited = toCurves(axes.map((value, k) => value + (1 - Math.abs(value) / upper[k]) * added[k]));
      return own.map((value, curve) => (moved[curve] ? edited[curve] : value));
    },
  };
}
