// Which key does what.

import { choose } from "./categories.js";
import { $, say } from "./elements.js";
import { decide, finish, move, undo } from "./images.js";
import { otherCandidate, startMending, takeCandidate, use } from "./prompts.js";
import { nudgeThreshold } from "./scores.js";
import { forgetPrompt, select, view } from "./shown.js";
import { shownObjects, state } from "./state.js";

function confirm() {
  // An early Enter is meant for the mask that is still looked for: it must not end the image.
  if (view.canvas.getAttribute("aria-busy") === "true") return undefined;
  return state.candidates.length ? takeCandidate() : finish();
}

const KEYS = {
  ArrowLeft: () => move(-1),
  ArrowRight: () => move(1),
  ArrowUp: () => otherCandidate(-1),
  ArrowDown: () => otherCandidate(1),
  Enter: confirm,
  Escape: () => {
    if (state.tool === "select" && !state.mending) select(null);
    forgetPrompt();
    use("select");
    say("");
  },
  Delete: () => decide("drop"),
  0: () => view.fit(),
  a: () => use("click"),
  b: () => use("box"),
  k: () => decide("keep"),
  m: () => startMending(),
  u: () => undo(),
  x: () => decide("drop"),
  "/": () => $("category-search").focus(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input[type=search], select, input[type=range]");
  if (typing) {
    if (event.key === "Escape") $("canvas").focus();
    if (event.key === "Enter" && event.target.id === "category-search") $("categories").querySelector("button")?.click();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter" && event.target.matches("button, summary")) return;
  if (event.key === "Tab" && event.target === $("canvas") && shownObjects().length) {
    // Past the last object Tab leaves the canvas, so the keyboard is never caught.
    const items = shownObjects(), position = items.findIndex((item) => item.id === state.selected);
    const next = position + (event.shiftKey ? -1 : 1);
    if (next >= 0 && next < items.length) { event.preventDefault(); select(items[next].id); }
    return;
  }
  if (/^[1-9]$/.test(event.key)) {
    const entry = state.info.categories[Number(event.key) - 1];
    if (entry) choose(entry.id);
    return;
  }
  const action = KEYS[event.key];
  if (action) {
    event.preventDefault();
    action();
  } else if (event.code === "Comma" || event.code === "Period") {
    event.preventDefault();
    nudgeThreshold(event.code === "Comma" ? 0.02 : -0.02, event.shiftKey);
  }
});

// After a click with the mouse the keys go to the image again; who tabs to a button stays there.
document.addEventListener("click", (event) => {
  if (event.detail > 0 && event.target.closest("button")) $("canvas").focus({ preventScroll: true });
});
