// Steps that can be undone, and the edits of the last visit.
"use strict";
/** Remembers the states of edits; under a name the last one stays in this browser until the page is opened again, and
 * troubled() is called where another tab of it does the same. */
function makeHistory(edits, name, troubled) {
  const past = [], future = [];
  let now = edits.state(), trouble = "";

  /** A browser may keep nothing of a page that is a file, or of a private window; the steps do not need it. */
  function kept(use) {
    try {
      return use(localStorage);
    } catch {
      return null;
    }
  }

  function keep() {
    const done = kept((storage) => {
      if (edits.any()) storage.setItem(name, now); else storage.removeItem(name);
      return true;
    });
    trouble = done || !edits.any() ? "" : "full";
  }

  // What another tab of this page keeps is under the same name; what it discards is its own alone.
  addEventListener("storage", (event) => {
    if (event.key !== name && event.key !== null) return; // null: all was cleared
    if (kept((storage) => storage.getItem(name)) === null) keep(); else trouble = "twice";
    troubled();
  });

  /** What was changed since the last step is one step. */
  function commit() {
    const next = edits.state();
    if (next === now) return;
    past.push(now);
    future.length = 0;
    now = next;
    keep();
  }

  function go(from, to) {
    commit();
    if (!from.length) return;
    to.push(now);
    now = from.pop();
    edits.restore(now);
    keep();
  }

  /** Takes the edits of the last visit; whether there were any. */
  function resume() {
    const text = kept((storage) => storage.getItem(name));
    if (!text) return false;
    kept(() => edits.restore(text)); // nor is what another program may have written there
    now = edits.state();
    return edits.any();
  }

  return {
    commit, resume,
    undo: () => go(past, future),
    redo: () => go(future, past),
    undoable: () => past.length > 0,
    redoable: () => future.length > 0,
    /** Why the edits may not be there at the next visit: "full", the browser keeps none, or "twice"; "" where they are. */
    trouble: () => trouble,
  };
}
