// The review page: what the mouse does, and the start.

import { addCategory, choose } from "./categories.js";
import { $, say, trying } from "./elements.js";
import { finish, move, open, undo } from "./images.js";
import { runJob, takeState } from "./jobs.js";
import "./keys.js";
import { drawImages, putInOrder, showLines } from "./list.js";
import { ask, otherCandidate, startMending, takeCandidate, use } from "./prompts.js";
import { keepThresholds } from "./scores.js";
import { drawCategories, drawMasks, drawThresholds, forgetPrompt, select, view } from "./shown.js";
import { category, state, thresholds } from "./state.js";

function click(point, event) {
  if (state.tool === "select") {
    const hit = view.under(point);
    select(hit && hit.item ? hit.item.id : null);
  } else {
    state.points.push({ ...point, label: event.shiftKey ? 0 : 1 });
    ask();
  }
}

function hover(point, event) {
  const hit = point && view.under(point);
  const item = hit && hit.item;
  $("hover").hidden = !item;
  if (!item) return;
  $("hover").textContent = `${category(item.category_id).name} ${item.score === null ? "drawn" : item.score.toFixed(2)}${item.status === "kept" ? ", kept" : ""}`;
  const { left, top } = $("stage").getBoundingClientRect();
  $("hover").style.left = `${event.clientX - left + 12}px`;
  $("hover").style.top = `${event.clientY - top + 12}px`;
}

function listImages() {
  putInOrder();
  drawImages();
}

// Does work with what the pressed button of a list stands for.
function onButtons(list, work) {
  $(list).addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) work(button.dataset);
  });
}

view.handlers = { click, box: ask, hover };
onButtons("images", ({ number, begin }) => (begin === undefined ? open(Number(number)) : showLines(Number(begin))));
onButtons("objects", ({ object }) => select(object));
onButtons("categories", ({ category: id, adds }) => (adds === undefined ? choose(Number(id)) : addCategory()));
$("categories").addEventListener("input", ({ target }) => { thresholds.set(Number(target.dataset.category), Number(target.value)); drawThresholds(); });
$("categories").addEventListener("change", keepThresholds);
$("min-score").addEventListener("input", () => { thresholds.moveAll(Number($("min-score").value)); drawThresholds(); });
$("min-score").addEventListener("change", keepThresholds);
$("as-labeled").onclick = () => { thresholds.reset(); drawThresholds(); keepThresholds(); };
$("search").addEventListener("input", listImages);
$("order").addEventListener("change", listImages);
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
