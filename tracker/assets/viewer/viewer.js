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

  const edits = makeEdits(takes[0], times, () => show(shown));

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

  const VIEWS = { near: "Close-up", filmed: "As filmed", rig: "Your rig" };

  function makeStage() {
    const canvas = $("head"), plate = $("plate"), brush = plate.getContext("2d");
    const renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true });
    const near = new THREE.PerspectiveCamera(20, 1, 0.01, 100);
    const lights = new Map();
    const orbits = { near: new THREE.OrbitControls(near, canvas), rig: null };
    const centre = new THREE.Vector3();
    const lenses = new Map(takes.map(({ camera }) => [camera, { angle: camera.fov, aspect: camera.aspect }]));
    let view = "near", plated = false;

    function lightOf(scene) {
      if (!lights.has(scene)) {
        const light = new THREE.DirectionalLight(0xffffff, 2.6);
        scene.add(new THREE.HemisphereLight(0xffffff, 0x6a707c, 2.2), light, light.target);
        lights.set(scene, light);
      }
      return lights.get(scene);
    }

    function render() {
      const { clientWidth: width, clientHeight: height } = canvas;
      if (!width || !height) return;
      const scene = view === "rig" ? rig.scene : take.scene;
      const camera = { near, filmed: take.camera, rig: rig?.camera }[view];
      const light = lightOf(scene), target = view === "rig" ? rig.centre : centre;
      renderer.setPixelRatio(devicePixelRatio);
      renderer.setSize(width, height, false);
      camera.aspect = width / height;
      if (view === "filmed") { // all of the clip's frame stays in view
        const { angle, aspect } = lenses.get(camera);
        const grow = Math.max(1, aspect / camera.aspect);
        camera.fov = 2 * Math.atan(Math.tan(angle * Math.PI / 360) * grow) * 180 / Math.PI;
      }
      camera.updateProjectionMatrix();
      const reach = camera.position.distanceTo(target);
      light.position.copy(camera.position)
        .add(new THREE.Vector3(0.25, 0.4, 0.2).multiplyScalar(view === "filmed" ? 1 : reach).applyQuaternion(camera.quaternion));
      light.target.position.copy(target);
      renderer.render(scene, camera);
      drawPlate(width, height);
    }

    /** The clip's frame behind the head, as the camera sees both. */
    function drawPlate(width, height) {
      const drawn = plated && view === "filmed" && video.videoWidth > 0;
      plate.hidden = !drawn;
      canvas.classList.toggle("over", drawn);
      if (!drawn) return;
      plate.width = width * devicePixelRatio;
      plate.height = height * devicePixelRatio;
      const scale = Math.min(plate.width / video.videoWidth, plate.height / video.videoHeight);
      const [w, h] = [video.videoWidth * scale, video.videoHeight * scale];
      brush.drawImage(video, (plate.width - w) / 2, (plate.height - h) / 2, w, h);
    }

    /** The close-up camera goes where the head goes. */
    function follow() {
      const position = take.head.getWorldPosition(new THREE.Vector3());
      near.position.add(position.clone().sub(centre));
      centre.copy(position);
      orbits.near.target.copy(centre);
      near.lookAt(centre);
    }

    function look(at) {
      view = at;
      if (view === "rig") {
        orbits.rig?.dispose();
        orbits.rig = new THREE.OrbitControls(rig.camera, canvas);
        orbits.rig.target.copy(rig.centre);
        orbits.rig.enablePan = false;
        orbits.rig.update();
        orbits.rig.addEventListener("change", render);
      }
      for (const [name, orbit] of Object.entries(orbits)) if (orbit) orbit.enabled = name === view;
      canvas.classList.toggle("fixed", view === "filmed");
      $("view").textContent = VIEWS[view];
      $("plate-on").setAttribute("aria-pressed", String(plated && view === "filmed"));
      render();
    }

    take.show(times[0]);
    take.head.getWorldPosition(centre);
    near.position.copy(centre).addScaledVector(centre.clone().normalize(), -0.85); // along the clip's line of sight
    orbits.near.enablePan = false;
    orbits.near.target.copy(centre);
    orbits.near.update();
    orbits.near.addEventListener("change", render);
    $("view").onclick = () => {
      const views = rig ? ["near", "filmed", "rig"] : ["near", "filmed"];
      look(views[(views.indexOf(view) + 1) % views.length]);
    };
    $("plate-on").onclick = () => {
      plated = view !== "filmed" || !plated;
      look("filmed");
    };
    return { render, follow, look, view: () => view };
  }

  function stageOrMessage() {
    try {
      return makeStage();
    } catch (error) {
      $("no-head").textContent = "The head needs WebGL, which this browser does not offer.";
      $("no-head").hidden = false;
      $("view").hidden = $("plate-on").hidden = true;
      return { render() {}, follow() {}, look() {}, view: () => "none" };
    }
  }
  const stage = stageOrMessage();

  // The curves

  const range = (curve) => {
    let low = 1, high = 0;
    for (let row = 0; row <= last; row++) {
      if (!ok[row]) continue;
      low = Math.min(low, takes[0].value(row, curve));
      high = Math.max(high, takes[0].value(row, curve));
    }
    return high - low;
  };
  const curves = names.map((name, index) => ({ name, index, range: range(index), colour: null, button: null }));
  curves.sort((a, b) => b.range - a.range);

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

  $("list").append(...edits.wholeLines());
  for (const curve of curves) {
    curve.button = document.createElement("button");
    curve.button.className = "curve";
    const parts = ["i", "span", "b", "span"].map((tag) => document.createElement(tag));
    parts[1].textContent = curve.name;
    curve.button.append(...parts);
    curve.button.onclick = () => { toggleCurve(curve, !curve.colour); drawPlot(); };
    $("list").append(edits.line(curve.button, curve.name));
    toggleCurve(curve, false);
  }
  for (const curve of curves.slice(0, 6)) toggleCurve(curve, true);

  const plot = $("plot"), pen = plot.getContext("2d"), pad = { left: 34, right: 12, top: 12, bottom: 22 };
  const span = Math.max(times[last] - times[0], 1e-6);
  const plotX = (time) => pad.left + (time - times[0]) / span * (plot.clientWidth - pad.left - pad.right);
  const plotY = (v) => pad.top + (1 - v) * (plot.clientHeight - pad.top - pad.bottom);

  function drawPlot() {
    const { clientWidth: width, clientHeight: height } = plot;
    plot.width = width * devicePixelRatio;
    plot.height = height * devicePixelRatio;
    pen.scale(devicePixelRatio, devicePixelRatio);
    pen.font = "11px system-ui, sans-serif";
    drawGrid(width, height);
    for (const curve of curves.filter((c) => c.colour)) drawCurve(curve);
    pen.fillStyle = "#e6e9ef";
    pen.fillRect(plotX(times[shown]) - 0.75, pad.top - 4, 1.5, height - pad.top - pad.bottom + 8);
  }

  function drawGrid(width, height) {
    pen.fillStyle = "rgb(245 101 101 / .14)"; // frames without a face
    for (let row = 0; row <= last; row++) {
      const end = row < last ? times[row + 1] : times[row];
      if (!ok[row]) pen.fillRect(plotX(times[row]), pad.top, plotX(end) - plotX(times[row]) + 0.5, height - pad.top - pad.bottom);
    }
    pen.fillStyle = "#8b93a3";
    pen.strokeStyle = "#262b34";
    pen.lineWidth = 1;
    pen.textAlign = "right";
    for (const v of [0, 0.5, 1]) {
      line([[pad.left, plotY(v)], [width - pad.right, plotY(v)]]);
      pen.fillText(String(v), pad.left - 7, plotY(v) + 4);
    }
    pen.textAlign = "center";
    const step = [0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 600, 1800].find((s) => plotX(times[0] + s) - pad.left > 70) ?? 3600;
    for (let k = Math.ceil(times[0] / step); k * step <= times[last] + 1e-9; k++) {
      line([[plotX(k * step), pad.top], [plotX(k * step), height - pad.bottom]]);
      pen.fillText(`${+(k * step).toFixed(2)} s`, Math.min(plotX(k * step), width - 18), height - 6);
    }
  }

  /** The shown take's curve, and as dashes the other one's, and what was tracked where that was changed. */
  function drawCurve(curve) {
    const drawn = takes.map((one) => [one === take, (time) => value(one, one.row(time), curve.name)]);
    if (edits.changes(curve.name)) drawn.push([false, (time) => edits.tracked(takes[0].row(time), curve.name)]);
    pen.strokeStyle = pen.fillStyle = curve.colour;
    pen.lineJoin = "round";
    for (const [whole, at] of drawn) {
      pen.setLineDash(whole ? [] : [4, 4]);
      pen.lineWidth = whole ? 1.6 : 1;
      line(Array.from(times, (time) => [plotX(time), plotY(at(time))]));
    }
    pen.setLineDash([]);
    for (const row of edits.keys(curve.name)) {
      pen.fillRect(plotX(times[row]) - 3, plotY(edits.curve(row, curve.name)) - 3, 6, 6);
    }
  }

  function line(points) {
    pen.beginPath();
    for (const [x, y] of points) pen.lineTo(x, y);
    pen.stroke();
  }

  // What is shown

  let shown = 0;

  function show(row) {
    shown = row;
    const own = take.row(times[row]); // the row of the take that is shown
    take.show(times[row]);
    if (take === takes[0]) edits.apply(own);
    driveRig(own);
    edits.show(row);
    $("edited").hidden = !edits.any();
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
    $("take").textContent = take === takes[0] ? "A" : "B";
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
    $("edit").setAttribute("aria-pressed", String($("below").classList.toggle("editing")));
    drawPlot();
  };
  $("reset").onclick = edits.reset;
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
  const scrubPlot = (event) => {
    const share = (event.offsetX - pad.left) / (plot.clientWidth - pad.left - pad.right);
    go(rowAt(times[0] + clamp(share, 0, 1) * span));
  };
  plot.onpointerdown = (event) => { plot.setPointerCapture(event.pointerId); scrubPlot(event); };
  plot.onpointermove = (event) => { if (event.buttons) scrubPlot(event); };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 10 : 1;
    const actions = {
      " ": toggle,
      ArrowLeft: () => go(shown - step),
      ArrowRight: () => go(shown + step),
      Home: () => go(0),
      End: () => go(last),
      b: otherTake,
    };
    const own = event.target.id === "speed" || event.target.closest?.(".line input"); // these keys move it
    if (!actions[event.key] || own) return;
    event.preventDefault();
    actions[event.key]();
  });
  addEventListener("resize", () => show(shown));

  /** For scripts: seek(seconds) resolves when that frame is shown; weights() are those of the head as it is drawn. */
  window.viewer = {
    names, times, play, problem, useRig,
    table: () => edits.table(data),
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
