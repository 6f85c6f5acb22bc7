// The page: a camera or a file in, the picture with the mesh, bars and a table out. Nothing leaves the browser.

import {Tracker} from "./tracker.js";

const PROBE = 1 / 240, MOST_PROBES = 60, RARE = 25; // seconds, steps, frames a second where that cannot be seen
const SEEK_TIMEOUT = 400; // milliseconds after a seek in which a picture that is new is shown
const one = (id) => document.getElementById(id);
const view = one("view"), context = view.getContext("2d", {willReadFrequently: true}), video = document.createElement("video");
video.muted = video.playsInline = true;

let tracker, running = 0, rows = [], current = Promise.resolve(), wake = () => {};

const say = (text, bad = false) => {
  one("status").textContent = text;
  one("status").classList.toggle("bad", bad);
};

// The picture that the video shows.
const grabbed = () => {
  if (view.width !== video.videoWidth || view.height !== video.videoHeight) {
    [view.width, view.height] = [video.videoWidth, video.videoHeight];
  }
  context.drawImage(video, 0, 0);
  return context.getImageData(0, 0, view.width, view.height);
};

// Track a picture and show it; returns the row of the table.
const track = async (picture, time) => {
  const found = await tracker.next(picture, time), row = {time, ok: !!found, curves: null, pose: null};
  if (found) {
    row.curves = Array.from(found.curves);
    row.pose = Array.from(found.image_pose);
    drawn(found);
    row.curves.forEach((value, i) => barOf(i, value));
  }
  rows.push(row);
  return row;
};

const drawn = (found) => {
  const kind = one("overlay").value, size = Math.max(view.width / 640, 1);
  context.lineWidth = 0.6 * size;
  context.strokeStyle = "#4df2c8";
  context.fillStyle = "#ffd23e";
  if (kind === "mesh") {
    context.beginPath();
    for (const [a, b] of tracker.about.edges) {
      context.moveTo(found.placed[2 * a] + 0.5, found.placed[2 * a + 1] + 0.5);
      context.lineTo(found.placed[2 * b] + 0.5, found.placed[2 * b + 1] + 0.5);
    }
    context.stroke();
  }
  for (let i = 0; kind === "points" && i < found.points.length; i += 2) {
    context.fillRect(found.points[i] + 0.5 - size / 2, found.points[i + 1] + 0.5 - size / 2, size, size);
  }
};

const bars = [];
const barOf = (i, value) => {
  bars[i].style.setProperty("--value", `${100 * value}%`);
  bars[i].nextElementSibling.textContent = value.toFixed(2);
};

// Begin a run once the one before has ended: `work` goes on as long as `running` is its number.
const start = (work) => async (...given) => {
  const run = halt();
  await current;
  if (run !== running) return;
  rows = [];
  tracker.reset();
  [one("stop").disabled, one("save").disabled] = [false, true];
  current = work(run, ...given).then((text) => [text, false], (error) => [error.message, true]);
  const [text, bad] = await current;
  if (run === running) halt();
  say(text, bad);
};

// End what runs; returns the number of the next run.
const halt = () => {
  for (const stream of video.srcObject?.getTracks() ?? []) stream.stop();
  video.srcObject = null;
  wake();
  [one("stop").disabled, one("save").disabled] = [true, !rows.length];
  return ++running;
};

const rate = (since, count) => (count / ((performance.now() - since) / 1000)).toFixed(1);
const withFace = () => `${rows.filter((row) => row.ok).length} with a face`;

const fromCamera = async (run) => {
  video.srcObject = await navigator.mediaDevices.getUserMedia({video: {width: {ideal: 640}}, audio: false});
  await video.play();
  const since = performance.now();
  while (run === running) {
    const shown = await new Promise((done) => {
      wake = done;
      video.requestVideoFrameCallback((now) => done(now / 1000));
    });
    if (run !== running) break;
    const row = await track(grabbed(), shown);
    say(`${rows.length} frames, ${rate(since, rows.length)} a second${row.ok ? "" : "; no face"}`);
  }
  return `${rows.length} frames of the camera; ${withFace()}`;
};

// Go to a time of the file; returns the time of the picture that is shown then.
const seek = (time) => new Promise((done) => {
  const callback = video.requestVideoFrameCallback((_, frame) => done(frame.mediaTime));
  video.addEventListener("seeked", () => setTimeout(() => {
    video.cancelVideoFrameCallback(callback);
    done(null); // the picture that was shown before
  }, SEEK_TIMEOUT), {once: true});
  video.currentTime = time;
});

// The times of the first two pictures of the file.
const firstTimes = async () => {
  let first = await seek(PROBE / 2);
  for (let probe = 1; probe < MOST_PROBES; probe++) {
    const next = await seek(PROBE * (probe + 0.5));
    first ??= next;
    if (next !== null && next > first) return [first, next];
  }
  return [first ?? 0, (first ?? 0) + 1 / RARE];
};

const fromFile = async (run, file) => {
  video.src = URL.createObjectURL(file);
  await new Promise((done, failed) => {
    video.onloadeddata = done;
    video.onerror = () => failed(new Error(`${file.name} cannot be read by this browser; convert it to WebM or MP4 (H.264)`));
  });
  say("Looking for the frame rate …");
  const [first, second] = await firstTimes(), step = second - first, since = performance.now();
  let last = -Infinity;
  for (let time = first + step / 2; time < video.duration && run === running; time += step) {
    const shown = (await seek(time)) ?? time - step / 2;
    if (shown <= last || run !== running) continue;
    last = shown;
    await track(grabbed(), shown);
    say(`${rows.length} frames, ${rate(since, rows.length)} a second`);
  }
  return `${rows.length} frames of ${file.name}, ${rate(since, rows.length)} a second; ${withFace()}`;
};

const table = () => {
  const degrees = 180 / Math.PI, head = ["frame", "time", "ok", "yaw", "pitch", "roll", "scale", "tx", "ty", ...tracker.curves];
  let held = Array(6 + tracker.curves.length).fill(0);
  const lines = rows.map(({time, ok, curves, pose}, frame) => {
    if (ok) held = [pose[2] * degrees, pose[1] * degrees, pose[3] * degrees, Math.exp(pose[0]), pose[4], pose[5], ...curves];
    return [frame, time.toFixed(6), Number(ok), ...held.map((value, i) => value.toFixed(i < 6 ? 3 : 4))].join(",");
  });
  return [head.join(","), ...lines, ""].join("\n");
};

const saved = () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([table()], {type: "text/csv"}));
  link.download = "curves.csv";
  link.click();
  URL.revokeObjectURL(link.href);
};

one("camera").onclick = start(fromCamera);
one("file").onchange = (event) => {
  const [file] = event.target.files;
  if (file) start(fromFile)(file);
  event.target.value = ""; // so that the same file can be chosen again
};
one("save").onclick = saved;
one("stop").onclick = halt;

const load = async () => {
  tracker = await Tracker.load();
  for (const name of tracker.curves) {
    const bar = document.createElement("div");
    bar.className = "bar";
    bar.append(document.createElement("b"), document.createElement("i"), document.createElement("span"));
    bar.firstChild.textContent = bar.firstChild.title = name;
    one("bars").append(bar);
    bars.push(bar.children[1]);
  }
  one("camera").disabled = one("file").disabled = false;
  say("Choose the camera or a file.");
  window.page = {tracker, track, table, rows: () => rows};
};

load().catch((error) => say(error.message, true));
