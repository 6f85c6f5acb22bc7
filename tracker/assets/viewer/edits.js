// What is changed by hand over a take: an amount for each curve, expression, the gaze and the head, in all frames or by keys.
"use strict";
/** The edits of a take whose rows begin at times; expressions can be laid over it. */
function makeEdits(take, times, expressions) {
  const HEAD = { yaw: "head yaw", pitch: "head pitch", roll: "head roll" }; // degrees, as in curves.csv
  const GAZE = { gazeSide: "gaze to the left", gazeUp: "gaze up" }; // the subject's left, in units of the eyeLook curves
  const MOST_DEGREES = 60, DEGREE = Math.PI / 180;
  const LOOK = /^eyeLook(Up|Down|In|Out)(Left|Right)$/;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  /** A channel adds its amount to the performance, or, if held, stands in its place. */
  const makeChannel = (kind, name, title, most = 1) => ({ kind, name, title, most, held: false, amount: 0, keys: new Map(), rows: [] });
  const channels = new Map([
    ...Object.entries(HEAD).map(([name, title]) => makeChannel("head", name, title, MOST_DEGREES)),
    ...Object.entries(GAZE).map(([name, title]) => makeChannel("gaze", name, title)),
    ...expressions.names.map((name) => makeChannel("expression", name, name)),
    ...take.names.map((name) => makeChannel("curve", name, name)),
  ].map((channel) => [channel.name, channel]));
  const columns = new Map(take.names.map((name, at) => [name, at]));
  const looks = new Map(take.names.map((name) => [name, name.match(LOOK)]).filter(([, match]) => match));
  let expressed = []; // curves with expressions, by row; forgotten when one of these changes
  let changes = 0; // so far

  const active = ({ held, amount, keys }) => held || amount !== 0 || keys.size > 0;
  const of = (kind) => [...channels.values()].filter((channel) => channel.kind === kind);
  const kinds = { head: of("head"), gaze: of("gaze"), expression: of("expression") };
  const anyOf = (kind) => kinds[kind].some(active);

  /** The amount at a row: that of the keys around it, in proportion to time; without keys that of the slider. */
  function amountAt({ keys, rows, amount }, row) {
    if (!rows.length) return amount;
    let low = 0, high = rows.length; // the first key after the row is between them
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle] > row) high = middle; else low = middle + 1;
    }
    const before = rows[Math.max(low - 1, 0)], after = before === row ? row : rows[Math.min(low, rows.length - 1)];
    const share = after > before ? (times[row] - times[before]) / (times[after] - times[before]) : 0;
    return keys.get(before) * (1 - share) + keys.get(after) * share;
  }

  function mixed(name, row, performed) {
    const channel = channels.get(name);
    if (!active(channel)) return performed;
    return channel.held ? amountAt(channel, row) : performed + amountAt(channel, row);
  }

  // Curves, gaze and head at a row

  const tracked = (row, name) => take.value(row, columns.get(name));

  /** A curve with the expressions, which come first. */
  function performed(row, name) {
    if (!anyOf("expression")) return tracked(row, name);
    expressed[row] ??= expressions.over(take.names.map((curve) => tracked(row, curve)), kinds.expression.map((one) => amountAt(one, row)));
    return expressed[row][columns.get(name)];
  }

  const waysOf = (gaze, side) => (gaze === "gazeUp" ? ["Up", "Down"] : side === "Left" ? ["Out", "In"] : ["In", "Out"]);

  /** Where an eye looks in the performance, -1 to 1: to the subject's left, or up. */
  function performedLook(row, gaze, side) {
    const [there, back] = waysOf(gaze, side).map((way) => performed(row, `eyeLook${way}${side}`));
    return there - back;
  }

  /** Where it looks with the edits. */
  const look = (row, gaze, side) => clamp(mixed(gaze, row, performedLook(row, gaze, side)), -1, 1);

  /** A curve with the edits of the gaze: both eyes go the same way. */
  function looked(row, name) {
    const [, way, side] = looks.get(name) ?? [];
    const gaze = way === "Up" || way === "Down" ? "gazeUp" : "gazeSide";
    if (!way || !active(channels.get(gaze))) return performed(row, name);
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
    if (!anyOf("head")) return take.turn(row);
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
    const head = anyOf("head") ? ["yaw", "pitch", "roll", "scale", "tx", "ty"] : [];
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

  // Changes

  function change(channel, fields) {
    Object.assign(channel, fields);
    if (fields.keys) channel.rows = [...fields.keys.keys()].sort((a, b) => a - b);
    changes += 1;
    if (channel.kind === "expression") expressed = [];
  }

  const clear = (channel) => change(channel, { held: false, amount: 0, keys: new Map() });

  function set(channel, row, amount) {
    change(channel, channel.keys.size ? { keys: new Map(channel.keys).set(row, amount) } : { amount });
  }

  /** What the performance has of a channel at a row without the channel's own amount. */
  function without({ kind, name }, row) {
    if (kind === "head") return anglesOf(take.turn(row))[name];
    if (kind === "gaze") return performedLook(row, name, "Left");
    return kind === "curve" ? looked(row, name) : 0;
  }

  /** What it has with that. */
  function within(channel, row) {
    const value = mixed(channel.name, row, without(channel, row));
    return channel.kind === "head" ? value : clamp(value, channel.kind === "gaze" ? -1 : 0, 1);
  }

  /** Lets a channel count the other way; at its keys, or without any at a row, all stays as it is. */
  function toggleHeld(channel, row) {
    const counted = (at) => within(channel, at) - (channel.held ? without(channel, at) : 0);
    const keys = new Map([...channel.keys.keys()].map((key) => [key, counted(key)]));
    change(channel, { amount: counted(row), keys, held: !channel.held });
  }

  function toggleKey(channel, row) {
    const amount = amountAt(channel, row), keys = new Map(channel.keys);
    if (!keys.delete(row)) keys.set(row, amount);
    change(channel, keys.size ? { keys } : { keys, amount });
  }

  /** Puts one of the keys that a channel had elsewhere in time. */
  function moveKey(name, had, from, to) {
    const keys = new Map(had);
    keys.delete(from);
    change(channels.get(name), { keys: keys.set(to, had.get(from)) });
  }

  // All of it as a text, and back

  const state = () => JSON.stringify(Object.fromEntries([...channels.values()].filter(active)
    .map(({ name, held, amount, keys }) => [name, { held, amount, keys: [...keys] }])));

  function restore(text) {
    for (const channel of channels.values()) clear(channel);
    for (const [name, { held, amount, keys }] of Object.entries(JSON.parse(text))) {
      if (channels.has(name) && Number.isFinite(amount)) change(channels.get(name), { held, amount, keys: new Map(keys) });
    }
  }

  return {
    active, amountAt, apply, clear, curve, moveKey, restore, set, state, table, toggleHeld, toggleKey, tracked, within,
    any: () => [...channels.values()].some(active),
    channel: (name) => channels.get(name),
    /** Whether a curve is not as it was tracked, because of its own channel or another one. */
    changes: (name) => active(channels.get(name)) || (looks.has(name) && anyOf("gaze")) || anyOf("expression"),
    /** Another number after each change. */
    version: () => changes,
    list: () => [...channels.values()],
    reset: () => { for (const channel of channels.values()) clear(channel); },
  };
}
