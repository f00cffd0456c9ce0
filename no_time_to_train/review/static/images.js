// Images one after the other, and every change of one.

import { $, say, trying } from "./elements.js";
import { markImage, markStatus, neighbor } from "./list.js";
import { decodeMask } from "./masks.js";
import { sendThresholds } from "./scores.js";
import { get, pixels, post } from "./server.js";
import { drawMasks, drawObjects, forgetPrompt, showNothing, view } from "./shown.js";
import { selectedObject, state } from "./state.js";

const loaded = new Map(); // of the images around the current one

export function load(number) {
  if (!loaded.has(number)) {
    const parts = Promise.all([get(`/api/images/${number}`).then(decode), pixels(number)]);
    parts.catch(() => loaded.delete(number));
    loaded.set(number, parts);
    while (loaded.size > 6) loaded.delete(loaded.keys().next().value);
  }
  return loaded.get(number);
}

function decode(image) {
  for (const item of image.objects) item.mask = decodeMask(item.segmentation);
  return image;
}

export async function open(number) {
  await trying(async () => {
    forgetPrompt();
    state.number = number;
    state.selected = null;
    $("hover").hidden = true;
    markImage();
    const [image, bitmap] = await load(number).catch((error) => { if (state.number === number) showNothing(); throw error; });
    if (state.number !== number) return;
    state.image = image;
    view.show(bitmap, image);
    $("title").textContent = image.name;
    say(image.done ? "Done. Enter opens it again." : "");
    drawObjects();
    drawMasks();
    const next = neighbor(1);
    if (next !== undefined) load(next);
  });
}

export async function openAgain() {
  loaded.clear();
  if (state.number >= 0) await open(state.number);
}

export function move(step) {
  const number = neighbor(step);
  if (number === undefined) say(step > 0 ? "This is the last image." : "This is the first image.");
  else return open(number);
  return undefined;
}

// What the program answers to a change is the new state of the image.
function take(image) {
  state.image = decode(image);
  loaded.set(state.number, Promise.all([state.image, loaded.get(state.number).then(([, bitmap]) => bitmap)]));
  markStatus(state.number, image);
  drawObjects();
  drawMasks();
}

export const change = (action, values) => trying(async () => {
  const number = state.number;
  const image = await post(`/api/images/${number}/${action}`, values);
  if (number === state.number) take(image);
});

export async function decide(decision) {
  const item = selectedObject();
  if (!item) return say("Select an object first: click it, or press Tab.");
  await change("decide", { ids: [item.id], decision: item.status === { keep: "kept", drop: "dropped" }[decision] ? "undecide" : decision });
  return undefined;
}

export async function finish() {
  if (!state.image) return undefined;
  if (state.image.done) {
    await change("reopen", {});
    return say("Open again.");
  }
  await sendThresholds();
  await change("finish", {});
  if (neighbor(1) !== undefined) await move(1);
  else say("Done. This was the last image of the list.");
  return undefined;
}

export async function undo() {
  await trying(async () => {
    const { number } = await post("/api/undo");
    if (number === null) return say("There is nothing to undo.");
    loaded.delete(number);
    await open(number);
    if (!state.image) return undefined;
    markStatus(number, state.image);
    return say("Undone.");
  });
}
