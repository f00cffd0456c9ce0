// Clicks and boxes: a mask is asked for, chosen among candidates, and taken as a new or a mended object.

import { $, say, trying } from "./elements.js";
import { change } from "./images.js";
import { decodeMask } from "./masks.js";
import { post } from "./server.js";
import { drawMasks, forgetPrompt, view } from "./shown.js";
import { category, selectedObject, state } from "./state.js";

export function use(tool) {
  state.tool = tool;
  for (const name of ["select", "click", "box"]) $(`tool-${name}`).setAttribute("aria-pressed", String(name === tool));
  view.dragsBox = tool === "box";
  view.canvas.style.cursor = tool === "select" ? "default" : "crosshair";
  if (tool !== "select" && state.number >= 0) {
    say("The mask model looks at the image: the first click takes a moment.");
    const number = state.number;
    trying(() => post(`/api/images/${number}/prompt`).then(() => { if (number === state.number && !state.candidates.length) say(tool === "box" ? "Drag a box around an object." : "Click an object; shift-click what does not belong to it."); }));
  }
}

export function startMending() {
  if (!selectedObject()) return say("Select the object to mend first.");
  state.mending = state.selected;
  if (state.tool === "select") use("click");
  return say("Click the object, shift-click what does not belong to it, or drag a box.");
}

export async function ask() {
  state.asking += 1;
  const asked = state.asking;
  view.canvas.setAttribute("aria-busy", "true");
  say("Looking for the mask ...");
  drawMasks();
  await trying(async () => {
    const box = view.box && [view.box.x1, view.box.y1, view.box.x2, view.box.y2];
    const answer = await post(`/api/images/${state.number}/prompt`, {
      points: state.points.map(({ x, y }) => [x, y]),
      labels: state.points.map(({ label }) => label),
      box,
    });
    if (asked !== state.asking) return;
    state.candidates = answer.candidates.map((entry) => ({ ...entry, mask: decodeMask(entry.segmentation) }));
    state.candidate = 0;
    $("taking").hidden = !state.candidates.length;
    sayCandidate();
    drawMasks();
  });
  if (asked === state.asking) view.canvas.setAttribute("aria-busy", "false");
}

function sayCandidate() {
  if (!state.candidates.length) return say("No mask there. Click somewhere else.");
  const target = state.mending ? "Enter mends the object" : state.category === undefined ? "choose a category, then Enter" : `Enter adds it as ${category(state.category).name}`;
  return say(`Mask ${state.candidate + 1} of ${state.candidates.length}, predicted IoU ${state.candidates[state.candidate].predicted_iou.toFixed(2)}: ${target}; up and down for the others.`);
}

export function otherCandidate(step) {
  if (!state.candidates.length) return;
  state.candidate = (state.candidate + step + state.candidates.length) % state.candidates.length;
  sayCandidate();
  drawMasks();
}

export async function takeCandidate() {
  if (state.mending) await change("mend", { id: state.mending, candidate: state.candidate });
  else if (state.category === undefined) return say("Choose a category first, or type a new one.", true);
  else await change("add", { category_id: state.category, candidate: state.candidate });
  forgetPrompt();
  return say("Saved.");
}
