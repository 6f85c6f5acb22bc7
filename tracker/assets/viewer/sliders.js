// The controls of the edits: for each channel a slider, how it counts, and its key at the row that is shown.
"use strict";
/** changed() is called while the user changes something, done() after each change. */
function makeSliders(edits, changed, done) {
  let shown = 0; // the row that the controls are of
  const parts = new Map(); // slider, mode, key and number by channel

  /** A number as text, without a minus where nothing is left of it. */
  const text = (number, digits) => (Number(number.toFixed(digits)) || 0).toFixed(digits);

  /** Makes what a change does to a channel that of an event. */
  const once = (change, channel) => () => {
    change(channel, shown);
    changed();
    done();
  };

  function button(text, title, onclick) {
    const made = document.createElement("button");
    Object.assign(made, { textContent: text, title, onclick });
    return made;
  }

  /** A line of a label, which may show the channel's number, and the controls. */
  function line(channel, label, number = null) {
    const box = document.createElement("div"), slider = document.createElement("input");
    const held = button("+", "+ adds to the performance, = stands in its place", once(edits.toggleHeld, channel));
    const key = button("◆", "A key at this frame; between keys the amount goes from one to the other", once(edits.toggleKey, channel));
    box.className = channel.kind === "curve" ? "line" : "line whole";
    Object.assign(slider, { type: "range", step: channel.most / 100, max: channel.most, title: "Double-click: as tracked" });
    slider.setAttribute("aria-label", `Change ${channel.name}`);
    held.disabled = channel.kind === "expression"; // always over the performance
    key.setAttribute("aria-label", `Key of ${channel.name}`);
    slider.oninput = () => {
      edits.set(channel, shown, Number(slider.value));
      changed();
    };
    slider.onchange = done;
    slider.ondblclick = once(edits.clear, channel);
    box.append(label, slider, held, key);
    parts.set(channel, { slider, held, key, number });
    return box;
  }

  /** The line of a channel that has no curve: its label, and what it has at the row. */
  function wholeLine(channel) {
    const label = document.createElement("span"), number = document.createElement("span");
    label.append(channel.title, number);
    return line(channel, label, number);
  }

  /** A heading, and the lines of all channels of some kinds. */
  function section(title, ...kinds) {
    const heading = document.createElement("h2");
    heading.textContent = title;
    return [heading, ...edits.list().filter(({ kind }) => kinds.includes(kind)).map(wholeLine)];
  }

  /** Lets the controls be those of a row. */
  function show(row) {
    shown = row;
    for (const [channel, { slider, held, key, number }] of parts) {
      const least = channel.kind === "expression" || (channel.held && channel.kind === "curve") ? 0 : -channel.most;
      slider.min = least;
      slider.value = edits.amountAt(channel, row);
      slider.classList.toggle("signed", least < 0);
      slider.classList.toggle("active", edits.active(channel));
      held.textContent = channel.held ? "=" : "+";
      key.setAttribute("aria-pressed", String(channel.keys.has(row)));
      key.classList.toggle("keyed", channel.keys.size > 0);
      if (number) number.textContent = channel.kind === "head"
        ? `${text(edits.within(channel, row), 1)}°` : text(edits.within(channel, row), 2);
    }
  }

  return { line, section, show };
}
