// The curves over time.
"use strict";
/** A canvas with lines and keys over the times at which rows begin; those that are not ok have no face. */
function makePlot(canvas, times, ok) {
  const NEAR = 7; // pixels
  const ground = document.createElement("canvas"); // all but the cursor: it stays from row to row
  const pen = ground.getContext("2d"), pad = { left: 34, right: 12, top: 12, bottom: 22 }, last = times.length - 1;
  const span = Math.max(times[last] - times[0], 1e-6);
  let width = 1, height = 1; // of what is within the axes
  const x = (time) => pad.left + (time - times[0]) / span * width;
  const y = (value) => pad.top + (1 - value) * height;
  let drawn = []; // the keys

  /** Not in a narrow window, nor in a hidden frame of another page; browsers refuse to draw an empty canvas. */
  const hasRoom = () => canvas.width > 0 && canvas.height > 0;

  /** lines: { colour, dashed, at(time, row) }; keys: { name, row, colour, value }, on the axis where value is null. */
  function draw(lines, keys) {
    width = Math.max(canvas.clientWidth - pad.left - pad.right, 1);
    height = Math.max(canvas.clientHeight - pad.top - pad.bottom, 1);
    ground.width = canvas.width = canvas.clientWidth * devicePixelRatio;
    ground.height = canvas.height = canvas.clientHeight * devicePixelRatio;
    drawn = keys;
    if (!hasRoom()) return;
    pen.scale(devicePixelRatio, devicePixelRatio);
    pen.font = "11px system-ui, sans-serif";
    pen.lineJoin = "round";
    drawGrid();
    for (const { colour, dashed, at } of lines) {
      pen.strokeStyle = colour;
      pen.setLineDash(dashed ? [4, 4] : []);
      pen.lineWidth = dashed ? 1 : 1.6;
      stroke(seen(Array.from(times, (time, row) => [x(time), y(at(time, row))])));
    }
    pen.setLineDash([]);
    for (const key of keys) drawKey(key);
  }

  /** The points of a line of which several lie in one column of pixels: no more than the outermost can be seen of them. */
  function seen(points) {
    if (points.length < 4 * width) return points;
    const out = [];
    for (let from = 0, to; from < points.length; from = to) {
      let least = from, most = from;
      for (to = from + 1; to < points.length && Math.floor(points[to][0]) === Math.floor(points[from][0]); to++) {
        if (points[to][1] < points[least][1]) least = to;
        if (points[to][1] > points[most][1]) most = to;
      }
      out.push(...[...new Set([from, least, most, to - 1])].sort((a, b) => a - b).map((at) => points[at]));
    }
    return out;
  }

  /** Shows what was drawn, with the cursor at a row. */
  function show(row) {
    if (!hasRoom()) return;
    const brush = canvas.getContext("2d");
    brush.clearRect(0, 0, canvas.width, canvas.height);
    brush.drawImage(ground, 0, 0);
    brush.fillStyle = "#e6e9ef";
    brush.fillRect((x(times[row]) - 0.75) * devicePixelRatio, (pad.top - 4) * devicePixelRatio, 1.5 * devicePixelRatio, (height + 8) * devicePixelRatio);
  }

  function drawGrid() {
    pen.fillStyle = "rgb(245 101 101 / .14)"; // frames without a face
    for (let row = 0; row <= last; row++) {
      const end = row < last ? times[row + 1] : times[row];
      if (!ok[row]) pen.fillRect(x(times[row]), pad.top, x(end) - x(times[row]) + 0.5, height);
    }
    pen.fillStyle = "#8b93a3";
    pen.strokeStyle = "#262b34";
    pen.lineWidth = 1;
    pen.textAlign = "right";
    for (const value of [0, 0.5, 1]) {
      stroke([[pad.left, y(value)], [pad.left + width, y(value)]]);
      pen.fillText(String(value), pad.left - 7, y(value) + 4);
    }
    pen.textAlign = "center";
    const step = [0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 600, 1800].find((s) => x(times[0] + s) - pad.left > 70) ?? 3600;
    for (let k = Math.ceil(times[0] / step); k * step <= times[last] + 1e-9; k++) {
      stroke([[x(k * step), pad.top], [x(k * step), pad.top + height]]);
      pen.fillText(`${+(k * step).toFixed(2)} s`, Math.min(x(k * step), pad.left + width - 6), pad.top + height + 16);
    }
  }

  const place = ({ row, value }) => [x(times[row]), y(value ?? 0)];

  function drawKey(key) {
    const [across, down] = place(key), size = key.value === null ? 5 : 4;
    pen.fillStyle = key.colour;
    pen.beginPath();
    for (const [a, b] of [[0, -size], [size, 0], [0, size], [-size, 0]]) pen.lineTo(across + a, down + b);
    pen.fill();
  }

  function stroke(points) {
    pen.beginPath();
    for (const [across, down] of points) pen.lineTo(across, down);
    pen.stroke();
  }

  return {
    draw, show,
    /** What the drawing depends on beside lines and keys. */
    size: () => [canvas.clientWidth, canvas.clientHeight, devicePixelRatio],
    timeAt: (across) => times[0] + Math.min(Math.max((across - pad.left) / width, 0), 1) * span,
    /** The key that is drawn near a place; the topmost one. */
    keyAt: (across, down) => drawn.findLast((key) => Math.hypot(place(key)[0] - across, place(key)[1] - down) < NEAR),
    /** Where a key is drawn, for scripts. */
    places: () => drawn.map((key) => ({ name: key.name, row: key.row, at: place(key) })),
  };
}
