// What is drawn of the image: its masks, its objects, the categories and their thresholds.

import { $, named, small, swatch } from "./elements.js";
import { category, isShown, shownObjects, state, thresholds } from "./state.js";
import { View } from "./view.js";

export const view = new View($("canvas"));

export function drawMasks() {
  const fill = $("fills").checked;
  const items = shownObjects()
    .filter((item) => item.id !== state.mending || !state.candidates.length)
    .map((item) => ({ mask: item.mask, color: category(item.category_id).color, fill, strong: item.id === state.selected, item }));
  const candidate = state.candidates[state.candidate];
  if (candidate) items.push({ mask: candidate.mask, color: "rgb(255, 255, 255)", fill: true, strong: true });
  view.points = state.points;
  view.draw(items);
}

export function drawObjects() {
  const list = $("objects");
  list.replaceChildren();
  for (const item of state.image?.objects ?? []) {
    if (!isShown(item) && item.status !== "dropped") continue;
    const entry = document.createElement("li");
    entry.className = `${item.status} ${item.id === state.selected ? "chosen" : ""}`;
    const button = document.createElement("button");
    button.append(swatch(category(item.category_id).color), named(category(item.category_id).name), small(item.score === null ? "drawn" : item.score.toFixed(2)));
    button.dataset.object = item.id;
    entry.append(button);
    list.append(entry);
  }
}

export function drawCategories() {
  const wanted = $("category-search").value.trim().toLowerCase();
  const list = $("categories");
  list.replaceChildren();
  state.info.categories.forEach((entry, position) => {
    if (wanted && !entry.name.toLowerCase().includes(wanted)) return;
    const line = document.createElement("li");
    if (entry.id === state.category) line.className = "chosen";
    const button = document.createElement("button");
    button.append(small(position < 9 ? String(position + 1) : ""), swatch(entry.color), named(entry.name));
    button.dataset.category = entry.id;
    line.append(button, scoreSlider(entry));
    list.append(line);
  });
  if (wanted && !state.info.categories.some((entry) => entry.name.toLowerCase() === wanted)) {
    const line = document.createElement("li");
    const button = document.createElement("button");
    button.textContent = `Add "${$("category-search").value.trim()}"`;
    button.dataset.adds = "";
    line.append(button);
    list.append(line);
  }
}

function scoreSlider(entry) {
  const slider = document.createElement("input");
  const shown = document.createElement("output");
  Object.assign(slider, { type: "range", min: 0, max: 1, step: 0.01, value: thresholds.of(entry.id), title: `Score of ${entry.name} from` });
  slider.setAttribute("aria-label", slider.title);
  slider.dataset.category = entry.id;
  shown.textContent = thresholds.of(entry.id).toFixed(2);
  const both = document.createElement("span");
  both.className = "score";
  both.append(slider, shown);
  return both;
}

// Everything that depends on the thresholds but the list of images, which follows when a slider is let go.
export function drawThresholds() {
  $("min-score").value = thresholds.center;
  $("min-score-value").textContent = thresholds.describe();
  $("as-labeled").disabled = thresholds.areAsLabeled();
  for (const slider of $("categories").querySelectorAll("input")) {
    slider.value = thresholds.of(Number(slider.dataset.category));
    slider.nextSibling.textContent = thresholds.of(Number(slider.dataset.category)).toFixed(2);
  }
  if (state.image) { drawObjects(); drawMasks(); }
}

// Of an image that cannot be shown nothing may stand there, least of all the image before it.
export function showNothing() {
  state.image = null;
  view.show(null, { width: 1, height: 1 });
  $("title").textContent = state.info.images[state.number].name;
  $("objects").replaceChildren();
  drawMasks();
}

export function forgetPrompt() {
  state.points = [];
  state.candidates = [];
  state.candidate = 0;
  state.mending = null;
  state.asking += 1;
  view.box = null;
  view.canvas.removeAttribute("aria-busy");
  $("taking").hidden = true;
  if (state.image) drawMasks();
}

export function select(id) {
  state.selected = id;
  drawObjects();
  drawMasks();
}
