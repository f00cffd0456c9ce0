// Moving thresholds, and keeping them in the program.

import { say, trying } from "./elements.js";
import { drawImages, putInOrder } from "./list.js";
import { post } from "./server.js";
import { drawThresholds } from "./shown.js";
import { category, selectedObject, state, thresholds } from "./state.js";

// What an image that is done keeps, an export holds and labeling again draws follows these numbers.
export function keepThresholds() {
  putInOrder();
  drawImages();
  const values = thresholds.areAsLabeled() ? null : thresholds.values();
  state.kept = trying(() => post("/api/min_scores", { min_scores: values }));
}

export function nudgeThreshold(step, all) {
  const id = selectedObject()?.category_id ?? state.category;
  if (all || id === undefined) thresholds.moveAll(thresholds.center + step);
  else thresholds.set(id, thresholds.of(id) + step);
  drawThresholds();
  say(all || id === undefined ? `Score from ${thresholds.describe()}.` : `${category(id).name}: score from ${thresholds.of(id).toFixed(2)}.`);
  clearTimeout(state.nudged);
  state.nudged = setTimeout(keepThresholds, 250);
}

// Thresholds that have not been sent yet go first.
export async function sendThresholds() {
  if (state.nudged) { clearTimeout(state.nudged); state.nudged = null; keepThresholds(); }
  await state.kept;
}
