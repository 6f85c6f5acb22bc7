// The tracker: a picture and its time in, curves and head pose out. All networks run in this page.

import * as ort from "./ort.wasm.min.mjs";
import {apply, CropStabiliser, warp} from "./geometry.js";
import {BOX_SIDE, FaceFollower, SIDE} from "./face.js";
import {seeTeeth} from "./mouth.js";

export class Tracker {
  // Load the networks that lie beside this script.
  static async load() {
    const here = (name) => new URL(name, import.meta.url).href;
    ort.env.wasm.wasmPaths = new URL(".", import.meta.url).href;
    ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 4) : 1;
    ort.env.logLevel = "error";
    const [boxes, points, step, about] = await Promise.all([
      ...["boxes.onnx", "points.onnx", "tracker.onnx"].map((name) => ort.InferenceSession.create(here(name))),
      fetch(here("tracker.json")).then((answer) => answer.json()),
    ]);
    return new Tracker(boxes, points, step, about);
  }

  constructor(boxes, points, step, about) {
    Object.assign(this, {step, about, curves: about.curves});
    const over = (session, side) => (picture) => run(session, {picture: new ort.Tensor("float32", picture, [1, side, side, 3])});
    this.follower = new FaceFollower(over(boxes, BOX_SIDE), over(points, SIDE), about.detect);
    this.crop = new CropStabiliser(about.crop);
    this.reset();
  }

  // Forget the person and all frames.
  reset() {
    this.follower.reset();
    this.crop.reset();
    this.last = null;
    this.inputs = Object.fromEntries(Object.entries(this.about.inputs).map(([name, shape]) =>
      [name, new ort.Tensor("float32", new Float32Array(shape.reduce((a, b) => a * b)), shape)]));
    for (const [name, values] of Object.entries(this.about.person ?? {})) {
      this.inputs[name].data.set(values);
      this.inputs.known.data[0] = 1;
    }
  }

  // Track the next picture, ImageData, at a time in seconds: null where there is no face, else {points, presence} and
  // the outputs of tracker.onnx by name.
  async next(picture, time) {
    const face = await this.follower.next(picture, time);
    if (!face) {
      this.crop.reset();
      this.last = null;
      return null;
    }
    const crop = this.crop.next(face.points, time), points = apply(crop, face.points), {inputs, about} = this;
    inputs.points.data.set(points);
    inputs.crop.data.set(crop);
    inputs.teeth.data.set(seeTeeth(warp(picture, crop, about.crop.size), about.crop.size, points, about.mouth));
    inputs.seconds.data[0] = this.last === null ? 0 : time - this.last;
    const found = await run(this.step, inputs);
    inputs.frame_state.data.set(found.next_frame_state);
    inputs.person_state.data.set(found.next_person_state);
    this.last = time;
    return {...face, ...found};
  }
}

const run = async (session, inputs) => {
  const found = await session.run(inputs);
  return Object.fromEntries(Object.entries(found).map(([name, tensor]) => [name, tensor.data]));
};
