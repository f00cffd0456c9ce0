// The review page: which image, which object, which key does what. Decisions live in the program, not here.

import { decodeMask } from "./masks.js";
import { get, pixels, post } from "./server.js";
import { Thresholds } from "./thresholds.js";
import { View } from "./view.js";

const LINES_SHOWN = 1000; // of the list of images, at a time
const $ = (id) => document.getElementById(id);
const state = {
  info: null, order: [], number: -1, image: null, selected: null,
  tool: "select", mending: null, points: [], candidates: [], candidate: 0, asking: 0,
};
const loaded = new Map(); // of the images around the current one
const thresholds = new Thresholds();
const lines = new Map(); // those shown of the list of images, by number
const view = new View($("canvas"), { click: onClick, box: onBox, hover: onHover });

// ---- what is shown

const category = (id) => state.info.categories.find((entry) => entry.id === id) || { name: `category ${id}`, color: "rgb(200, 200, 200)" };
const isShown = (item) => item.status === "kept" || (item.status === "undecided" && item.score >= thresholds.of(item.category_id));
const shownObjects = () => (state.image ? state.image.objects.filter(isShown) : []);
const selectedObject = () => state.image?.objects.find((item) => item.id === state.selected);

function say(text, isBad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", isBad);
}

async function trying(work) {
  try {
    return await work();
  } catch (error) {
    say(error.message, true);
    return undefined;
  }
}

function drawMasks() {
  const fill = $("fills").checked;
  const items = shownObjects()
    .filter((item) => item.id !== state.mending || !state.candidates.length)
    .map((item) => ({ mask: item.mask, color: category(item.category_id).color, fill, strong: item.id === state.selected, item }));
  const candidate = state.candidates[state.candidate];
  if (candidate) items.push({ mask: candidate.mask, color: "rgb(255, 255, 255)", fill: true, strong: true });
  view.points = state.points;
  view.draw(items);
}

function drawObjects() {
  const list = $("objects");
  list.replaceChildren();
  for (const item of state.image?.objects ?? []) {
    if (!isShown(item) && item.status !== "dropped") continue;
    const entry = document.createElement("li");
    entry.className = `${item.status} ${item.id === state.selected ? "chosen" : ""}`;
    const button = document.createElement("button");
    button.append(swatch(category(item.category_id).color), named(category(item.category_id).name), small(item.score === null ? "drawn" : item.score.toFixed(2)));
    button.onclick = () => select(item.id);
    entry.append(button);
    list.append(entry);
  }
}

function drawCategories() {
  const wanted = $("category-search").value.trim().toLowerCase();
  const list = $("categories");
  list.replaceChildren();
  state.info.categories.forEach((entry, position) => {
    if (wanted && !entry.name.toLowerCase().includes(wanted)) return;
    const line = document.createElement("li");
    if (entry.id === state.category) line.className = "chosen";
    const button = document.createElement("button");
    button.append(small(position < 9 ? String(position + 1) : ""), swatch(entry.color), named(entry.name));
    button.onclick = () => choose(entry.id);
    line.append(button, scoreSlider(entry));
    list.append(line);
  });
  if (wanted && !state.info.categories.some((entry) => entry.name.toLowerCase() === wanted)) {
    const line = document.createElement("li");
    const button = document.createElement("button");
    button.textContent = `Add "${$("category-search").value.trim()}"`;
    button.onclick = addCategory;
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
  slider.oninput = () => { thresholds.set(entry.id, Number(slider.value)); drawThresholds(); };
  slider.onchange = keepThresholds;
  const both = document.createElement("span");
  both.className = "score";
  both.append(slider, shown);
  return both;
}

// Everything that depends on the thresholds but the list of images, which follows when a slider is let go.
function drawThresholds() {
  $("min-score").value = thresholds.center;
  $("min-score-value").textContent = thresholds.describe();
  $("as-labeled").disabled = thresholds.areAsLabeled();
  for (const slider of $("categories").querySelectorAll("input")) {
    slider.value = thresholds.of(Number(slider.dataset.category));
    slider.nextSibling.textContent = thresholds.of(Number(slider.dataset.category)).toFixed(2);
  }
  if (state.image) { drawObjects(); drawMasks(); }
}

// What an image that is done keeps, an export holds and labeling again draws follows these numbers.
function keepThresholds() {
  putInOrder();
  const values = thresholds.areAsLabeled() ? null : thresholds.values();
  state.kept = trying(() => post("/api/min_scores", { min_scores: values }));
}

function nudgeThreshold(step, all) {
  const id = selectedObject()?.category_id ?? state.category;
  if (all || id === undefined) thresholds.moveAll(thresholds.center + step);
  else thresholds.set(id, thresholds.of(id) + step);
  drawThresholds();
  say(all || id === undefined ? `Score from ${thresholds.describe()}.` : `${category(id).name}: score from ${thresholds.of(id).toFixed(2)}.`);
  clearTimeout(state.nudged);
  state.nudged = setTimeout(keepThresholds, 250);
}

// Thresholds that have not been sent yet go first.
async function sendThresholds() {
  if (state.nudged) { clearTimeout(state.nudged); state.nudged = null; keepThresholds(); }
  await state.kept;
}

// Of the list those lines stand on the page that are around the image: a browser shows a hundred thousand only slowly.
function drawImages() {
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

function lineOf(number) {
  const entry = state.info.images[number];
  const line = document.createElement("li");
  const dot = document.createElement("span");
  dot.className = `dot ${entry.status}`;
  dot.title = entry.problem || entry.status;
  const button = document.createElement("button");
  button.append(dot, named(entry.name), small(String(countOf(entry))));
  button.onclick = () => open(number);
  line.append(button);
  if (number === state.number) line.setAttribute("aria-current", "true");
  return line;
}

function lineTo(begin, text) {
  const line = document.createElement("li");
  const button = document.createElement("button");
  button.append(small(text));
  button.onclick = () => { drawLines(begin); $("images").scrollTop = 0; };
  line.append(button);
  return line;
}

function markImage() {
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

function putInOrder() {
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
  if (state.number < 0 && numbers.length) load(numbers[0]); // beside the drawing of the list
  drawImages();
}

function swatch(color) {
  const span = document.createElement("span");
  span.className = "swatch";
  span.style.background = color;
  return span;
}

function named(text) {
  const span = document.createElement("span");
  span.className = "name";
  span.textContent = text;
  span.title = text;
  return span;
}

function small(text) {
  const element = document.createElement("small");
  element.textContent = text;
  return element;
}

// ---- images

function load(number) {
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

async function open(number) {
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

// Of an image that cannot be shown nothing may stand there, least of all the image before it.
function showNothing() {
  state.image = null;
  view.show(null, { width: 1, height: 1 });
  $("title").textContent = state.info.images[state.number].name;
  $("objects").replaceChildren();
  drawMasks();
}

function neighbor(step) {
  const position = state.order.indexOf(state.number);
  return state.order[position + step];
}

function move(step) {
  const number = neighbor(step);
  if (number === undefined) say(step > 0 ? "This is the last image." : "This is the first image.");
  else return open(number);
  return undefined;
}

// What the program answers to a change is the new state of the image.
function take(image) {
  state.image = decode(image);
  loaded.set(state.number, Promise.all([state.image, loaded.get(state.number).then(([, bitmap]) => bitmap)]));
  const entry = state.info.images[state.number];
  entry.status = image.done ? "done" : image.objects.some((item) => item.status !== "undecided") ? "begun" : "new";
  const dot = lines.get(state.number)?.querySelector(".dot");
  if (dot) dot.className = `dot ${entry.status}`;
  markImage();
  drawObjects();
  drawMasks();
}

const change = (action, values) => trying(async () => {
  const number = state.number;
  const image = await post(`/api/images/${number}/${action}`, values);
  if (number === state.number) take(image);
});

async function decide(decision) {
  const item = selectedObject();
  if (!item) return say("Select an object first: click it, or press Tab.");
  await change("decide", { ids: [item.id], decision: item.status === { keep: "kept", drop: "dropped" }[decision] ? "undecide" : decision });
  return undefined;
}

async function finish() {
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

async function undo() {
  await trying(async () => {
    const { number } = await post("/api/undo");
    if (number === null) return say("There is nothing to undo.");
    loaded.delete(number);
    await open(number);
    if (!state.image) return undefined;
    const entry = state.info.images[number];
    entry.status = state.image.done ? "done" : state.image.objects.some((item) => item.status !== "undecided") ? "begun" : "new";
    drawImages();
    return say("Undone.");
  });
}

// ---- objects

function select(id) {
  state.selected = id;
  drawObjects();
  drawMasks();
}

function selectNext(step) {
  const items = shownObjects();
  if (!items.length) return;
  const position = items.findIndex((item) => item.id === state.selected);
  select(items[(position + step + items.length) % items.length].id);
}

async function choose(id) {
  state.category = id;
  $("category-search").value = "";
  const item = selectedObject();
  if (item && !state.candidates.length) await change("relabel", { ids: [item.id], category_id: id });
  drawCategories();
  $("canvas").focus();
}

async function addCategory() {
  await trying(async () => {
    const added = await post("/api/categories", { name: $("category-search").value });
    if (!state.info.categories.some((entry) => entry.id === added.id)) {
      state.info.categories.push(added);
      thresholds.add(added.id);
    }
    await choose(added.id);
  });
}

// ---- clicks and boxes

function use(tool) {
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

function forgetPrompt() {
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

function startMending() {
  if (!selectedObject()) return say("Select the object to mend first.");
  state.mending = state.selected;
  if (state.tool === "select") use("click");
  return say("Click the object, shift-click what does not belong to it, or drag a box.");
}

async function ask() {
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

function otherCandidate(step) {
  if (!state.candidates.length) return;
  state.candidate = (state.candidate + step + state.candidates.length) % state.candidates.length;
  sayCandidate();
  drawMasks();
}

async function takeCandidate() {
  if (state.mending) await change("mend", { id: state.mending, candidate: state.candidate });
  else if (state.category === undefined) return say("Choose a category first, or type a new one.", true);
  else await change("add", { category_id: state.category, candidate: state.candidate });
  forgetPrompt();
  return say("Saved.");
}

function onClick(point, event) {
  if (state.tool === "select") {
    const hit = view.under(point);
    select(hit && hit.item ? hit.item.id : null);
  } else {
    state.points.push({ ...point, label: event.shiftKey ? 0 : 1 });
    ask();
  }
}

function onBox() {
  ask();
}

function onHover(point, event) {
  const hit = point && view.under(point);
  const item = hit && hit.item;
  $("hover").hidden = !item;
  if (!item) return;
  $("hover").textContent = `${category(item.category_id).name} ${item.score === null ? "drawn" : item.score.toFixed(2)}${item.status === "kept" ? ", kept" : ""}`;
  const { left, top } = $("stage").getBoundingClientRect();
  $("hover").style.left = `${event.clientX - left + 12}px`;
  $("hover").style.top = `${event.clientY - top + 12}px`;
}

// ---- jobs

async function runJob(name, values) {
  await trying(async () => {
    await sendThresholds();
    await post(`/api/jobs/${name}`, values);
    let job;
    do {
      await new Promise((resolve) => { setTimeout(resolve, 400); });
      job = await get("/api/job");
      say(job.status === "running" ? `${name} ... ${job.total ? `${job.done} of ${job.total}` : ""}` : job.message, job.status === "failed");
    } while (job.status === "running");
    if (name === "label" && job.status === "finished") {
      await refresh();
      say(job.message);
    }
  });
}

async function refresh() {
  await takeState();
  loaded.clear();
  if (state.number >= 0) await open(state.number);
}

async function takeState() {
  state.info = await get("/api/state");
  thresholds.take(state.info.min_scores, state.info.run_min_scores);
  putInOrder();
  drawCategories();
  drawThresholds();
}

// ---- keys

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

// ---- start

$("min-score").addEventListener("input", () => { thresholds.moveAll(Number($("min-score").value)); drawThresholds(); });
$("min-score").addEventListener("change", keepThresholds);
$("as-labeled").onclick = () => { thresholds.reset(); drawThresholds(); keepThresholds(); };
$("search").addEventListener("input", putInOrder);
$("order").addEventListener("change", putInOrder);
$("category-search").addEventListener("input", drawCategories);
$("fills").addEventListener("change", drawMasks);
$("previous").onclick = () => move(-1);
$("next").onclick = () => move(1);
$("finish").onclick = finish;
$("undo").onclick = undo;
$("take").onclick = takeCandidate;
$("other").onclick = () => otherCandidate(1);
$("cancel").onclick = () => { forgetPrompt(); say(""); };
$("mend").onclick = startMending;
$("fit").onclick = () => view.fit();
$("tool-select").onclick = () => { forgetPrompt(); use("select"); };
$("tool-click").onclick = () => use("click");
$("tool-box").onclick = () => use("box");
$("references").onclick = () => runJob("label", {});
$("export").onclick = () => runJob("export", { format: $("format").value });

await trying(async () => {
  await takeState();
  $("format").replaceChildren(...state.info.formats.map((name) => new Option(name)));
  if (state.info.categories.length) state.category = state.info.categories[0].id;
  drawCategories();
  if (state.order.length) await open(state.order[0]);
  else say("There are no images.");
});
