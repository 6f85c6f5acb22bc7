// What is changed by hand over a take: an amount for each curve, the gaze and the head, in all frames or by keys.
"use strict";
/** The edits of a take whose rows begin at times; changed() is called after each of the user's. */
function makeEdits(take, times, changed) {
  const HEAD = { yaw: "head yaw", pitch: "head pitch", roll: "head roll" }; // degrees, as in curves.csv
  const GAZE = { gazeSide: "gaze to the left", gazeUp: "gaze up" }; // the subject's left, in units of the eyeLook curves
  const MOST_DEGREES = 60, DEGREE = Math.PI / 180;
  const LOOK = /^eyeLook(Up|Down|In|Out)(Left|Right)$/;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  /** A channel adds its amount to the performance, or, if held, stands in its place. */
  const makeChannel = (name) => ({
    name, most: name in HEAD ? MOST_DEGREES : 1, curve: take.names.includes(name),
    held: false, amount: 0, keys: new Map(), parts: null,
  });
  const channels = new Map([...Object.keys({ ...HEAD, ...GAZE }), ...take.names].map((name) => [name, makeChannel(name)]));
  const columns = new Map(take.names.map((name, at) => [name, at]));
  let shown = 0; // the row that the controls are of

  const active = (name) => {
    const { held, amount, keys } = channels.get(name);
    return held || amount !== 0 || keys.size > 0;
  };
  const anyOf = (group) => Object.keys(group).some(active);

  /** The amount at a row: that of the keys around it, in proportion to time; without keys that of the slider. */
  function amountAt({ keys, amount }, row) {
    if (!keys.size) return amount;
    const rows = [...keys.keys()].sort((a, b) => a - b);
    const before = rows.findLast((key) => key <= row) ?? rows[0];
    const after = rows.find((key) => key >= row) ?? rows.at(-1);
    const share = after > before ? (times[row] - times[before]) / (times[after] - times[before]) : 0;
    return keys.get(before) * (1 - share) + keys.get(after) * share;
  }

  function mixed(name, row, tracked) {
    if (!active(name)) return tracked;
    const channel = channels.get(name);
    return channel.held ? amountAt(channel, row) : tracked + amountAt(channel, row);
  }

  // Curves, gaze and head at a row

  const tracked = (row, name) => take.value(row, columns.get(name));

  const waysOf = (gaze, side) => (gaze === "gazeUp" ? ["Up", "Down"] : side === "Left" ? ["Out", "In"] : ["In", "Out"]);

  /** Where an eye was tracked to look, -1 to 1: to the subject's left, or up. */
  function trackedLook(row, gaze, side) {
    const [there, back] = waysOf(gaze, side).map((way) => tracked(row, `eyeLook${way}${side}`));
    return there - back;
  }

  /** Where it looks with the edits. */
  const look = (row, gaze, side) => clamp(mixed(gaze, row, trackedLook(row, gaze, side)), -1, 1);

  /** A curve with the edits of the gaze: both eyes go the same way. */
  function looked(row, name) {
    const [, way, side] = name.match(LOOK) ?? [];
    const gaze = way === "Up" || way === "Down" ? "gazeUp" : "gazeSide";
    if (!way || !active(gaze)) return tracked(row, name);
    const turned = look(row, gaze, side);
    return Math.max(waysOf(gaze, side)[0] === way ? turned : -turned, 0);
  }

  const curve = (row, name) => clamp(mixed(name, row, looked(row, name)), 0, 1);

  /** Angles in degrees, of a rotation whose axes are right, up and towards the viewer. */
  function anglesOf(rotation) {
    const { x, y, z } = new THREE.Euler().setFromQuaternion(rotation, "ZYX");
    return { yaw: -y / DEGREE, pitch: x / DEGREE, roll: -z / DEGREE };
  }

  /** How the head is turned before the camera. */
  function rotation(row) {
    if (!anyOf(HEAD)) return take.turn(row);
    const angles = anglesOf(take.turn(row));
    const [yaw, pitch, roll] = Object.keys(HEAD).map((name) => DEGREE * mixed(name, row, angles[name]));
    return new THREE.Quaternion().setFromEuler(new THREE.Euler(pitch, -yaw, -roll, "ZYX"));
  }

  /** Lets the head do what it does at a row; the animation alone does not know of the edits. */
  function apply(row) {
    const weights = take.names.map((name) => curve(row, name));
    take.head.traverse(({ morphTargetDictionary: at, morphTargetInfluences }) => {
      if (at) take.names.forEach((name, i) => { morphTargetInfluences[at[name]] = weights[i]; });
    });
    take.head.parent.quaternion.copy(rotation(row));
  }

  // The table that track-export --curves takes

  /** The edited curves, and the head's pose where that was edited, for a camera of a size and a focal length in pixels. */
  function table({ size, focal }) {
    const head = anyOf(HEAD) ? ["yaw", "pitch", "roll", "scale", "tx", "ty"] : [];
    const lines = times.map((time, row) => {
      const pose = head.length ? poseOf(row, size, focal).map((number) => number.toFixed(3)) : [];
      return [row, time.toFixed(6), ...pose, ...take.names.map((name) => curve(row, name).toFixed(5))];
    });
    return [["frame", "time", ...head, ...take.names], ...lines].map((line) => `${line.join(",")}\n`).join("");
  }

  /** The pose in the picture as in curves.csv: the head turns about the neck, and its angles are from the line of sight. */
  function poseOf(row, [width, height], focal) {
    const turned = rotation(row);
    const origin = take.head.position.clone().applyQuaternion(turned).add(take.place(row));
    const scale = focal / -origin.z;
    const sight = new THREE.Quaternion().setFromUnitVectors(new THREE.Vector3(0, 0, -1), origin.clone().normalize());
    const { yaw, pitch, roll } = anglesOf(sight.invert().multiply(turned));
    return [yaw, pitch, roll, scale, (width - 1) / 2 + scale * origin.x, (height - 1) / 2 - scale * origin.y];
  }

  // The controls

  function set(channel, amount) {
    if (channel.keys.size) channel.keys.set(shown, amount);
    else channel.amount = amount;
    changed();
  }

  const clear = (channel) => Object.assign(channel, { held: false, amount: 0, keys: new Map() });

  /** What the performance has of a channel at a row without the channel's own amount. */
  function without({ name }, row) {
    if (name in HEAD) return anglesOf(take.turn(row))[name];
    return name in GAZE ? trackedLook(row, name, "Left") : looked(row, name);
  }

  /** What it has with that. */
  function within(channel, row) {
    const value = mixed(channel.name, row, without(channel, row));
    return channel.name in HEAD ? value : clamp(value, channel.curve ? 0 : -1, 1);
  }

  /** Lets a channel count the other way; at its keys, or without any at the row that is shown, all stays as it is. */
  function toggleHeld(channel) {
    const counted = (row) => within(channel, row) - (channel.held ? without(channel, row) : 0);
    const keys = new Map([...channel.keys.keys()].map((row) => [row, counted(row)]));
    Object.assign(channel, { amount: counted(shown), keys, held: !channel.held });
    changed();
  }

  function toggleKey(channel) {
    const amount = amountAt(channel, shown);
    if (!channel.keys.delete(shown)) channel.keys.set(shown, amount);
    if (!channel.keys.size) channel.amount = amount;
    changed();
  }

  /** A line of a label and the controls of a channel: slider, how it counts, and its key at the row that is shown. */
  function line(label, name) {
    const channel = channels.get(name), tags = ["div", "input", "button", "button"];
    const [box, slider, mode, key] = tags.map((tag) => document.createElement(tag));
    box.className = `line ${name in HEAD || name in GAZE ? "whole" : ""}`;
    slider.type = "range";
    slider.step = channel.most / 100;
    slider.max = channel.most;
    slider.setAttribute("aria-label", `Change ${name}`);
    slider.title = "Double-click: as tracked";
    slider.oninput = () => set(channel, Number(slider.value));
    slider.ondblclick = () => { clear(channel); changed(); };
    mode.title = "+ adds to the performance, = stands in its place";
    mode.onclick = () => toggleHeld(channel);
    key.textContent = "◆";
    key.title = "A key at this frame; between keys the amount goes from one to the other";
    key.onclick = () => toggleKey(channel);
    box.append(label, slider, mode, key);
    channel.parts = { slider, mode, key };
    return box;
  }

  /** The lines of the gaze and the head. */
  const wholeLines = () => Object.entries({ ...HEAD, ...GAZE }).map(([name, title]) => {
    const label = document.createElement("span");
    label.textContent = title;
    return line(label, name);
  });

  /** Lets the controls be those of a row. */
  function show(row) {
    shown = row;
    for (const channel of channels.values()) {
      const { slider, mode, key } = channel.parts;
      slider.min = channel.held && channel.curve ? 0 : -channel.most;
      slider.value = amountAt(channel, row);
      slider.classList.toggle("active", active(channel.name));
      mode.textContent = channel.held ? "=" : "+";
      key.setAttribute("aria-pressed", String(channel.keys.has(row)));
    }
  }

  function reset() {
    for (const channel of channels.values()) clear(channel);
    changed();
  }

  return {
    apply, curve, line, reset, show, table, tracked, wholeLines,
    any: () => [...channels.keys()].some(active),
    changes: (name) => active(name) || (LOOK.test(name) && anyOf(GAZE)),
    keys: (name) => [...channels.get(name).keys.keys()],
  };
}
