// The page: a camera or a file in, the picture with the mesh, bars and a table out. Nothing leaves the browser.

import {ALL_FORMATS, BlobSource, Input, VideoSampleSink} from "./mediabunny.min.mjs";
import {Tracker} from "./tracker.js";

const GAP = 0.1; // seconds by which durations may differ
const CONVERT = "convert it to WebM or MP4 (H.264)";
const one = (id) => document.getElementById(id);
const view = one("view"), context = view.getContext("2d", {willReadFrequently: true});

// A camera or a file while it is tracked, until it ends or is stopped.
class Run {
  constructor() {
    this.over = false;
    this.stopped = new Promise((done) => { this.ending = done; });
  }

  stop() {
    this.over = true;
    this.ending();
  }

  // What a promise gives; once the run is over nothing, and at once.
  until(promise) {
    return Promise.race([promise, this.stopped.then(() => null)]);
  }
}

let tracker, rows = [], run = Object.assign(new Run(), {done: Promise.resolve()});

const say = (text, bad = false) => {
  one("status").textContent = text;
  one("status").classList.toggle("bad", bad);
};

// The picture of a size that `draw` draws.
const grabbed = (width, height, draw) => {
  if (view.width !== width || view.height !== height) [view.width, view.height] = [width, height];
  draw();
  return context.getImageData(0, 0, width, height);
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

// Stop what runs, and once it has ended begin `work` with what is given, unless that has been stopped meanwhile, too.
const start = (work, ...given) => {
  const before = run, own = new Run();
  before.stop();
  own.done = before.done.then(() => own.over ? null : ended(own, work, given));
  run = own;
};

// Do the work of a run to its end and say how it went.
const ended = async (run, work, given) => {
  rows = [];
  tracker.reset();
  [one("stop").disabled, one("save").disabled] = [false, true];
  const [text, bad] = await work(run, ...given).then((text) => [text, false], (error) => [error.message, true]);
  run.stop();
  [one("stop").disabled, one("save").disabled] = [true, !rows.length];
  say(text, bad);
};

const rate = (since) => `${(rows.length / ((performance.now() - since) / 1000)).toFixed(1)} a second`;
const counted = (count) => `${count} ${count === 1 ? "frame" : "frames"}`;
const withFace = () => `${rows.filter((row) => row.ok).length} with a face`;

const fromCamera = async (run) => {
  if (!navigator.mediaDevices) throw new Error("Cameras need https, or localhost in the address of this page.");
  say("Waiting for the camera …");
  const asked = navigator.mediaDevices.getUserMedia({video: {width: {ideal: 640}}, audio: false});
  // whenever the run ends, also before the camera is there
  run.stopped.then(() => asked).then((stream) => stream.getTracks().forEach((track) => track.stop()), () => {});
  const stream = await run.until(asked);
  if (run.over) return "Stopped before the camera was there.";
  const video = Object.assign(document.createElement("video"), {muted: true, playsInline: true, srcObject: stream});
  const [camera] = stream.getVideoTracks();
  let gone = false;
  camera.addEventListener("ended", () => {
    gone = true;
    run.stop();
  });
  await run.until(video.play());
  const since = performance.now();
  while (!run.over) {
    const shown = await run.until(new Promise((done) => video.requestVideoFrameCallback(done)));
    if (run.over) break;
    const {videoWidth: width, videoHeight: height} = video;
    const row = await track(grabbed(width, height, () => context.drawImage(video, 0, 0)), shown / 1000);
    say(`${counted(rows.length)}, ${rate(since)}${row.ok ? "" : "; no face"}`);
  }
  video.srcObject = null;
  if (gone) throw new Error(`The camera is gone, after ${counted(rows.length)}; ${withFace()}`);
  return `${counted(rows.length)} of the camera; ${withFace()}`;
};

// The track of a file that has its pictures.
const pictureTrack = async (input, name) => {
  const track = await input.getPrimaryVideoTrack().catch(() => {
    throw new Error(`${name} cannot be read by this browser; ${CONVERT}`);
  });
  if (!track) throw new Error(`${name} has no picture; choose a video`);
  if (!await track.canDecode()) throw new Error(`${name} (${track.codec ?? "unknown codec"}) cannot be shown by this browser; ${CONVERT}`);
  return track;
};

const fromFile = async (run, file) => {
  if (!self.VideoDecoder) throw new Error("Files need https, or localhost in the address of this page, and a browser with WebCodecs.");
  say(`Opening ${file.name} …`);
  const input = new Input({source: new BlobSource(file), formats: ALL_FORMATS}), since = performance.now();
  let broken = "";
  try {
    const source = await pictureTrack(input, file.name);
    let end = 0;
    for await (const sample of new VideoSampleSink(source).samples(0)) {
      const begun = sample.timestamp > -sample.duration / 2; // else most of it is before the beginning
      if (begun && !run.over) await trackSample(sample);
      end = sample.timestamp + sample.duration;
      sample.close();
      if (run.over) break;
      say(`${counted(rows.length)}, ${rate(since)}`);
      await new Promise((done) => setTimeout(done)); // the page is drawn, and buttons work
    }
    if (!run.over && end < await source.computeDuration() - GAP) broken = "; the file breaks off there";
  } catch (error) {
    if (!rows.length) throw error;
    broken = `; it went no further: ${error.message}`;
  } finally {
    input.dispose();
  }
  const text = `${counted(rows.length)} of ${file.name}, ${rate(since)}; ${withFace()}`;
  if (broken) throw new Error(text + broken);
  return text;
};

const trackSample = (sample) =>
  track(grabbed(sample.displayWidth, sample.displayHeight, () => sample.draw(context, 0, 0)), sample.timestamp);

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
  setTimeout(() => URL.revokeObjectURL(link.href), 1000); // the browser reads it after the click
};

one("camera").onclick = () => start(fromCamera);
one("file").onchange = (event) => {
  const [file] = event.target.files;
  if (file) start(fromFile, file);
  event.target.value = ""; // so that the same file can be chosen again
};
one("save").onclick = saved;
one("stop").onclick = () => run.stop();

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
