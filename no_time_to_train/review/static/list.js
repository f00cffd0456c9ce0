// The list of images: which ones, in which order, and what has been done.

import { $, named, small } from "./elements.js";
import { state, thresholds } from "./state.js";

const LINES_SHOWN = 1000; // at a time
const lines = new Map(); // those shown, by number

export function putInOrder() {
  const wanted = $("search").value.trim().toLowerCase();
  const how = $("order").value;
  let numbers = state.info.images.map((_, number) => number);
  if (wanted) numbers = numbers.filter((number) => state.info.images[number].name.toLowerCase().includes(wanted));
  if (how === "open") numbers = numbers.filter((number) => state.info.images[number].status !== "done" || number === state.number);
  if (how === "uncertain") {
    const key = new Map(numbers.map((number) => [number, uncertainty(state.info.images[number])]));
    numbers.sort((a, b) => key.get(a) - key.get(b) || a - b);
  }
  state.order = numbers;
}

// Of the list those lines stand on the page that are around the image: a browser shows a hundred thousand only slowly.
export function drawImages() {
  const position = Math.max(state.order.indexOf(state.number), 0);
  drawLines(position - (position % LINES_SHOWN));
  markImage();
}

function drawLines(begin) {
  const end = begin + LINES_SHOWN;
  lines.clear();
  for (const number of state.order.slice(begin, end)) lines.set(number, lineOf(number));
  const shown = [...lines.values()];
  if (begin > 0) shown.unshift(lineTo(begin - LINES_SHOWN, `${begin} before these`));
  if (end < state.order.length) shown.push(lineTo(end, `${state.order.length - end} after these`));
  $("images").replaceChildren(...shown);
}

export function showLines(begin) {
  drawLines(begin);
  $("images").scrollTop = 0;
}

function lineOf(number) {
  const entry = state.info.images[number];
  const line = document.createElement("li");
  const dot = document.createElement("span");
  dot.className = `dot ${entry.status}`;
  dot.title = entry.problem || entry.status;
  const button = document.createElement("button");
  button.append(dot, named(entry.name), small(String(countOf(entry))));
  button.dataset.number = number;
  line.append(button);
  if (number === state.number) line.setAttribute("aria-current", "true");
  return line;
}

function lineTo(begin, text) {
  const line = document.createElement("li");
  const button = document.createElement("button");
  button.append(small(text));
  button.dataset.begin = begin;
  line.append(button);
  return line;
}

export function markImage() {
  if (!lines.has(state.number) && state.order.includes(state.number)) return drawImages();
  $("images").querySelector("[aria-current]")?.removeAttribute("aria-current");
  const current = lines.get(state.number);
  if (current) {
    current.setAttribute("aria-current", "true");
    // The list is scrolled, not the page: on a narrow one the image would go out of sight.
    const [list, line] = [$("images"), current].map((element) => element.getBoundingClientRect());
    $("images").scrollTop += Math.min(line.top - list.top, 0) + Math.max(line.bottom - list.bottom, 0);
  }
  const done = state.info.images.filter((entry) => entry.status === "done").length;
  $("done-count").textContent = `${done} of ${state.info.images.length} done`;
  $("references").disabled = !state.info.can_label;
  return undefined;
}

// entry.found: category, score, category, score ...
function countOf({ found }) {
  let count = 0;
  for (let i = 0; i < found.length; i += 2) if (found[i + 1] >= thresholds.of(found[i])) count += 1;
  return count;
}

function uncertainty({ found }) {
  let nearest = 1;
  for (let i = 0; i < found.length; i += 2) nearest = Math.min(nearest, Math.abs(found[i + 1] - thresholds.of(found[i])));
  return nearest;
}

export function neighbor(step) {
  const position = state.order.indexOf(state.number);
  return state.order[position + step];
}

// What an image is marked as, after the program told its new state.
export function markStatus(number, image) {
  const entry = state.info.images[number];
  entry.status = image.done ? "done" : image.objects.some((item) => item.status !== "undecided") ? "begun" : "new";
  const dot = lines.get(number)?.querySelector(".dot");
  if (dot) dot.className = `dot ${entry.status}`;
  markImage();
}
