// Plays the clip, the head and the curves in step. The state is one number: the row of the track that is shown.
"use strict";
(async () => {
  const COLOURS = ["#6ea8fe", "#ff9f6e", "#6ee7a8", "#f27ea9", "#ffd166", "#b794f6", "#4fd1c5", "#f56565"];
  const SLACK = 0.0005; // seconds by which a frame's time may differ between the browser and the track
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const { times, ok } = data;
  const last = times.length - 1;
  const video = $("video");

  const decode = (id) => Uint8Array.from(atob($(id).textContent), (c) => c.charCodeAt(0));
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  /** The last row that begins at or before a time; times outside the track give its ends. */
  function rowAt(time, rows = times) {
    let low = 0, high = rows.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (rows[middle] <= time + SLACK) low = middle; else high = middle - 1;
    }
    return low;
  }

  // The takes: the track, and one to compare it with

  async function readTake(id, times) {
    const gltf = await new THREE.GLTFLoader().parseAsync(decode(id).buffer, "");
    const head = gltf.scene.getObjectByName("head");
    const face = head.getObjectByProperty("isMesh", true); // one of its parts; all have the same weights
    const names = Object.keys(face.morphTargetDictionary);
    const mixer = new THREE.AnimationMixer(gltf.scene);
    const action = mixer.clipAction(gltf.animations[0]).play();
    const keysOf = (name) => gltf.animations[0].tracks.find((t) => t.name.endsWith(name)).values;
    const keys = keysOf("morphTargetInfluences"), [places, turns] = [keysOf("neck.position"), keysOf("neck.quaternion")];
    return {
      head, face, names, scene: gltf.scene, camera: gltf.cameras[0],
      /** Where the neck is at a row of this take, and how it is turned. */
      place: (row) => new THREE.Vector3().fromArray(places, 3 * row),
      turn: (row) => new THREE.Quaternion().fromArray(turns, 4 * row),
      /** The value of a curve at a row of this take. */
      value: (row, curve) => clamp(keys[row * names.length + curve], 0, 1),
      row: (time) => rowAt(time, times),
      show(time) {
        action.time = clamp(time, times[0], times[times.length - 1]);
        mixer.update(0);
      },
    };
  }

  const takes = [await readTake("glb", times)];
  if (data.against) takes.push(await readTake("against", data.against.times));
  let take = takes[0];
  const { names } = take;

  // What is changed by hand, of the track alone

  const edits = makeEdits(takes[0], times, makeExpressions(data.expressions, names));
  const steps = makeHistory(edits, `selftrack edits ${data.hash}`, showSteps);
  const resumed = steps.resume();
  const sliders = makeSliders(edits, () => show(shown), stepDone);

  const KEPT = {
    "": ["edited", "Your changes are there at your next visit, too"],
    full: ["edited, not kept: save", "This browser keeps no changes of this page, or has no room: what is not saved is lost"],
    twice: ["edited in two tabs", "Of the changes here and there, your next visit has those that were made last: save both"],
  };
  let lastVisit = resumed;

  /** After each of the user's changes. */
  function stepDone() {
    steps.commit();
    lastVisit = false;
    showSteps();
  }

  function showSteps() {
    [$("edited").textContent, $("edited").title] = KEPT[steps.trouble()];
    if (lastVisit && !steps.trouble()) $("edited").textContent = "edits of your last visit";
    $("undo").disabled = !steps.undoable();
    $("redo").disabled = !steps.redoable();
    $("edited").hidden = $("discard").disabled = !edits.any();
    $("discard").hidden = !edits.any() && !document.body.classList.contains("editing");
  }

  function step(way) {
    way();
    show(shown);
    showSteps();
  }

  /** The value of a curve of a take at a row of it, as it is drawn. */
  const value = (one, row, name) => (one === takes[0] ? edits.curve(row, name) : one.value(row, one.names.indexOf(name)));

  // A rig that the user drops in

  let rig = null;

  const readRig = makeRigReader(names);

  async function useRig(file) {
    const note = $("rig-note");
    try {
      rig = await readRig(file);
      const missing = names.filter((name) => !rig.found.has(name));
      note.textContent = `${rig.name}: ${rig.found.size} of ${names.length} curves` +
        (missing.length ? `; not ${missing.slice(0, 4).join(", ")}${missing.length > 4 ? " ..." : ""}` : "");
      stage.look("rig");
    } catch (error) {
      note.textContent = `${file.name} cannot be used: ${error.message}`;
    }
    show(shown);
  }

  /** The rig does what the take that is shown does. */
  function driveRig(row) {
    for (const [mesh, at, name] of rig?.targets ?? []) {
      mesh.morphTargetInfluences[at] = value(take, row, name);
    }
  }

  // What is drawn

  take.show(times[0]);

  function stageOrMessage() {
    try {
      return makeStage(takes, () => ({ take, rig }), video);
    } catch (error) {
      $("no-head").textContent = "The head needs WebGL, which this browser does not offer.";
      $("no-head").hidden = false;
      $("view").hidden = $("plate-on").hidden = true;
      return { render() {}, follow() {}, look() {}, view: () => "none" };
    }
  }
  const stage = stageOrMessage();

  // The curves

  const curves = data.curves.map((name) => ({ name, colour: null, button: null })); // those first that move most

  function freeColour() {
    const taken = curves.map((c) => c.colour);
    const uses = COLOURS.map((colour) => taken.filter((c) => c === colour).length);
    return COLOURS[uses.indexOf(Math.min(...uses))];
  }

  function toggleCurve(curve, on) {
    curve.colour = on ? freeColour() : null;
    curve.button.setAttribute("aria-pressed", String(on));
    const dot = curve.button.firstChild.style;
    dot.background = dot.borderColor = curve.colour ?? "";
    curve.button.style.setProperty("--colour", curve.colour ?? "#5b6474");
  }

  $("list").append(...sliders.section("Head and gaze", "head", "gaze"), ...sliders.section("Expressions", "expression"));
  $("list").append(Object.assign(document.createElement("h2"), { textContent: "Curves" }));
  for (const curve of curves) {
    curve.button = document.createElement("button");
    curve.button.className = "curve";
    const parts = ["i", "span", "b", "span"].map((tag) => document.createElement(tag));
    parts[1].textContent = curve.name;
    curve.button.append(...parts);
    curve.button.onclick = () => { toggleCurve(curve, !curve.colour); drawPlot(); };
    $("list").append(sliders.line(edits.channel(curve.name), curve.button));
    toggleCurve(curve, false);
  }
  for (const name of data.shown) toggleCurve(curves.find((curve) => curve.name === name), true);

  const plot = makePlot($("plot"), times, ok);

  let plotted = ""; // what the lines were drawn for: they are of all rows, and stay until that changes

  function drawPlot() {
    const drawn = curves.filter((curve) => curve.colour);
    const state = [edits.version(), takes.indexOf(take), plot.size(), ...curves.map(({ colour }) => colour)].join();
    if (state !== plotted) plot.draw(drawn.flatMap(linesOf), [...keysOnAxis(), ...drawn.flatMap(keysOf)]);
    plotted = state;
    plot.show(shown);
  }

  /** The shown take's curve, and as dashes the other one's, and what was tracked where that was changed. */
  function linesOf({ name, colour }) {
    const rowOf = (one) => (one === takes[0] ? (_, row) => row : (time) => one.row(time));
    const lines = takes.map((one) => [one, rowOf(one)])
      .map(([one, row]) => ({ colour, dashed: one !== take, at: (time, at) => value(one, row(time, at), name) }));
    if (edits.changes(name)) lines.push({ colour, dashed: true, at: (_, row) => edits.tracked(row, name) });
    return lines;
  }

  const rowsOf = (name) => [...edits.channel(name).keys.keys()];
  const keysOf = ({ name, colour }) => rowsOf(name).map((row) => ({ name, row, colour, value: edits.curve(row, name) }));

  /** The keys of what has no line in the plot. */
  function keysOnAxis() {
    const lined = new Set(curves.filter((curve) => curve.colour).map(({ name }) => name));
    const others = edits.list().filter(({ name }) => !lined.has(name));
    return others.flatMap(({ name }) => rowsOf(name).map((row) => ({ name, row, colour: "#ffd166", value: null })));
  }

  // What is shown

  let shown = 0;

  function show(row) {
    shown = row;
    const own = take.row(times[row]); // the row of the take that is shown
    take.show(times[row]);
    if (take === takes[0]) edits.apply(own);
    driveRig(own);
    sliders.show(row);
    stage.follow();
    stage.render();
    drawPlot();
    $("scrub").value = row;
    $("time").innerHTML = `<b>${times[row].toFixed(3)}</b> / ${times[last].toFixed(3)} s · frame <b>${row}</b> / ${last}`;
    for (const { button, name } of curves) {
      const now = value(take, own, name);
      button.style.setProperty("--value", now);
      button.lastChild.textContent = now.toFixed(2);
    }
  }

  // Time: the video's where it plays, else our own

  let moving = false; // by our own clock

  function freeClock() {
    let origin = null, base = 0;
    const tick = (now) => {
      if (!moving) return;
      origin ??= now;
      const time = base + (now - origin) / 1000 * $("speed").value;
      show(rowAt(time));
      if (time >= times[last]) { moving = false; showPlaying(); } else requestAnimationFrame(tick);
    };
    return {
      playing: () => moving,
      play() { moving = true; origin = null; base = times[shown]; requestAnimationFrame(tick); showPlaying(); },
      pause() { moving = false; showPlaying(); },
      seek(row) { origin = null; base = times[row]; return Promise.resolve(); },
      speed() { origin = null; base = times[shown]; },
    };
  }

  function videoClock() {
    const step = (time) => {
      const row = rowAt(time);
      if (row !== shown && !video.seeking) show(row);
      if (!video.paused && time >= times[last] - SLACK) video.pause();
    };
    if (video.requestVideoFrameCallback) {
      const frame = (_, { mediaTime }) => { step(mediaTime); video.requestVideoFrameCallback(frame); };
      video.requestVideoFrameCallback(frame);
    } else {
      const frame = () => { step(video.currentTime); requestAnimationFrame(frame); };
      requestAnimationFrame(frame);
    }
    video.addEventListener("seeked", () => step(video.currentTime)); // also where it was not moved from here
    for (const event of ["play", "pause", "ended"]) video.addEventListener(event, showPlaying);
    return {
      playing: () => !video.paused,
      play: () => video.play().catch(showPlaying), // refused before the user has touched the page
      pause: () => video.pause(),
      seek(row) {
        const done = new Promise((resolve) => video.addEventListener("seeked", resolve, { once: true }));
        video.currentTime = times[row] + 2 * SLACK; // just inside the frame
        return done;
      },
      speed() { video.playbackRate = $("speed").value; },
    };
  }

  /** Resolves to whether the clip can be played. */
  function openVideo() {
    if (data.clip === null) return Promise.resolve("The clip was not found when this page was made.");
    video.src = data.clip || URL.createObjectURL(new Blob([decode("clip")]));
    return new Promise((resolve) => {
      video.addEventListener("loadeddata", () => resolve(""), { once: true });
      video.addEventListener("error", () => resolve(data.clip
        ? `The clip cannot be played from ${data.clip}`
        : "This browser cannot play the clip's format."), { once: true });
    });
  }

  function showPlaying() {
    const shape = clock.playing() ? "M3 2h3v10H3zM8 2h3v10H8z" : "M3.5 1.5 12 7l-8.5 5.5z";
    $("play").innerHTML = `<svg width="14" height="14" viewBox="0 0 14 14"><path d="${shape}"/></svg>`;
  }

  function go(row) {
    show(clamp(row, 0, last));
    return clock.seek(shown);
  }

  async function play() {
    if (shown >= last) await go(0);
    await clock.play();
  }

  const toggle = () => (clock.playing() ? clock.pause() : play());

  let clock = freeClock();
  $("scrub").max = last;
  show(0);
  showSteps();
  const problem = await openVideo();
  $("no-video").textContent = problem;
  $("no-video").hidden = !problem;
  if (!problem) {
    clock = videoClock();
    await go(shown);
  }
  showPlaying();

  // The user

  function otherTake() {
    take = takes[(takes.indexOf(take) + 1) % takes.length];
    $("take").textContent = take === takes[0] ? "Track A" : "Track B";
    show(shown);
  }

  $("take").hidden = takes.length < 2;
  $("take").title = data.against ? `A: ${data.title}. B: ${data.against.title}. Key: b` : "";
  $("take").onclick = otherTake;
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) useRig(file);
  });
  $("edit").onclick = () => {
    $("edit").setAttribute("aria-pressed", String(document.body.classList.toggle("editing")));
    showSteps();
    show(shown);
  };
  $("undo").onclick = () => step(steps.undo);
  $("redo").onclick = () => step(steps.redo);
  $("discard").onclick = () => {
    edits.reset();
    stepDone();
    show(shown);
  };
  $("save").onclick = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([edits.table(data)], { type: "text/csv" }));
    link.download = `${document.title.replace(/[.][^.]*$/, "")}_edited.csv`; // of the clip's name
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  $("play").onclick = toggle;
  video.onclick = toggle;
  $("scrub").oninput = (event) => go(Number(event.target.value));
  $("speed").onchange = () => clock.speed();
  const canvas = $("plot");
  let grasped = null; // the key that is being moved: of which channel, where from, and all of its keys then
  const editing = () => document.body.classList.contains("editing");
  const plotTo = (event) => go(rowAt(plot.timeAt(event.offsetX)));

  function moveKey(event) {
    const time = plot.timeAt(event.offsetX), before = rowAt(time), after = Math.min(before + 1, last);
    const row = times[after] - time < time - times[before] ? after : before;
    edits.moveKey(grasped.name, grasped.had, grasped.from, row);
    go(row);
  }

  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    const key = editing() && plot.keyAt(event.offsetX, event.offsetY);
    grasped = key ? { name: key.name, from: key.row, had: edits.channel(key.name).keys } : null;
    if (key) go(key.row); else plotTo(event);
  };
  canvas.onpointermove = (event) => {
    const key = editing() && plot.keyAt(event.offsetX, event.offsetY);
    canvas.classList.toggle("key", !!key);
    canvas.title = key ? `Key of ${key.name}: drag it in time` : "";
    if (!event.buttons) return;
    if (grasped) moveKey(event); else plotTo(event);
  };
  canvas.onlostpointercapture = () => {
    if (grasped) stepDone();
    grasped = null;
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey) {
      const way = { z: event.shiftKey ? steps.redo : steps.undo, y: steps.redo }[event.key.toLowerCase()];
      if (!way || event.altKey) return;
      event.preventDefault();
      step(way);
      return;
    }
    if (event.altKey) return;
    const frames = event.shiftKey ? 10 : 1;
    const actions = {
      " ": toggle,
      ArrowLeft: () => go(shown - frames),
      ArrowRight: () => go(shown + frames),
      Home: () => go(0),
      End: () => go(last),
      b: otherTake,
    };
    const own = event.key === " " ? "button, select" : "#speed, .line input"; // whose these keys are when they have the focus
    if (!actions[event.key] || event.target.closest?.(own)) return;
    event.preventDefault();
    actions[event.key]();
  });
  addEventListener("resize", () => show(shown));

  /** For scripts: seek(seconds) resolves when that frame is shown; weights() are those of the head as it is drawn. */
  window.viewer = {
    names, times, play, problem, useRig,
    table: () => edits.table(data),
    keys: () => plot.places(),
    pause: () => clock.pause(),
    playing: () => clock.playing(),
    time: () => times[shown],
    seek: (time) => go(rowAt(time)),
    take: () => "AB"[takes.indexOf(take)],
    view: () => stage.view(),
    head: () => take.head.updateWorldMatrix(true, false) ?? take.head.matrixWorld.toArray(), // column by column
    weights: () => {
      const { morphTargetDictionary: at, morphTargetInfluences: weights } = take.face;
      return Object.fromEntries(names.map((name) => [name, weights[at[name]]]));
    },
    rigWeights: () => rig.targets.map(([mesh, at, name]) => [name, mesh.morphTargetInfluences[at]]),
  };
})();
