"""``index.html``: the overlays of a run in a browser, without a server and without the network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from no_time_to_train.errors import counted
from no_time_to_train.files.atomic import replacing
from no_time_to_train.outputs.drawing import category_color
from no_time_to_train.outputs.summary import RunSummary

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@TITLE@</title>
<style>
:root { color-scheme: light dark; --page: #f4f4f5; --card: #fff; --line: #ddd; --frame: #e4e4e7; --text: #18181b; }
@media (prefers-color-scheme: dark) {
  :root { --page: #18181b; --card: #27272a; --line: #3f3f46; --frame: #1f1f23; --text: #f4f4f5; }
}
body { font: 15px/1.4 system-ui, sans-serif; margin: 0; background: var(--page); color: var(--text); }
header { position: sticky; top: 0; background: var(--card); padding: 12px 20px; border-bottom: 1px solid var(--line);
         z-index: 1; }
header label { margin-right: 18px; }
header label, header strong { white-space: nowrap; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 14px; padding: 20px; }
figure { margin: 0; background: var(--card); border-radius: 8px; overflow: hidden; box-shadow: 0 1px 3px #0002; }
figure img { width: 100%; height: 200px; object-fit: contain; background: var(--frame); display: block; }
figcaption { padding: 8px 10px; overflow-wrap: anywhere; }
.chip { display: inline-block; border-radius: 9px; padding: 0 8px; margin: 2px 4px 0 0; font-size: 13px;
        border: 2px solid; }
nav { margin-top: 8px; }
#page { width: 5em; }
</style>
</head>
<body>
<header>
<label>Category <select id="category"></select></label>
<label>Score from <input id="score" type="range" min="0" max="1" step="0.01"> <output id="shown"></output></label>
<label>Name <input id="name" type="search" placeholder="any"></label>
<label><input id="empty" type="checkbox" checked> images without objects too</label>
<strong id="total"></strong>
<nav id="pages"><button id="back">&larr;</button>
<label>Page <input id="page" type="number" min="1" value="1"> of <output id="last"></output></label>
<button id="next">&rarr;</button></nav>
</header>
<main id="images"></main>
<script type="application/json" id="run">@RUN@</script>
<script>
"use strict";
const IMAGES_ON_A_PAGE = 1000;
const $ = (id) => document.getElementById(id);
const run = JSON.parse($("run").textContent);
const counted = (number, noun) => number + " " + noun + (number === 1 ? "" : "s");
const element = (name, properties) => Object.assign(document.createElement(name), properties);
$("category").append(element("option", {value: "", textContent: "all"}));
for (const [id, {name}] of Object.entries(run.categories)) {
  $("category").append(element("option", {value: id, textContent: name}));
}
$("score").value = run.min_score;
const own = [...new Set(Object.values(run.min_scores))];
let moved = false;
let selected = [];

// image.found: category, score, category, score ...
function idsOf({found}) {
  const wanted = $("category").value, score = $("score").valueAsNumber, ids = [];
  for (let i = 0; i < found.length; i += 2) {
    const id = found[i];
    if (found[i + 1] >= (moved ? score : run.min_scores[id]) && (!wanted || String(id) === wanted)) ids.push(id);
  }
  return ids;
}
function figure(image) {
  const caption = element("figcaption", {textContent: image.name});
  caption.append(element("br", {}));
  const counts = {};
  for (const id of idsOf(image)) counts[id] = (counts[id] || 0) + 1;
  for (const [id, count] of Object.entries(counts)) {
    const chip = element("span", {className: "chip", textContent: run.categories[id].name + " " + count});
    chip.style.borderColor = run.categories[id].color;
    caption.append(chip);
  }
  const link = element("a", {href: image.overlay, target: "_blank"});
  link.append(element("img", {src: image.overlay, loading: "lazy", alt: image.name}));
  const whole = element("figure", {});
  whole.append(link, caption);
  return whole;
}
function select() {
  const name = $("name").value.trim().toLowerCase(), empty = $("empty").checked;
  let objects = 0;
  selected = run.images.filter((image) => {
    if (name && !image.name.toLowerCase().includes(name)) return false;
    const count = idsOf(image).length;
    objects += count;
    return count || empty;
  });
  const common = moved ? $("score").valueAsNumber : own[0] ?? run.min_score;
  $("shown").textContent = moved || own.length < 2 ? common.toFixed(2) : "of each category";
  $("total").textContent = counted(objects, "object") + " in " + counted(selected.length, "image");
  turn(1);
}
function turn(wanted) {
  const last = Math.max(Math.ceil(selected.length / IMAGES_ON_A_PAGE), 1);
  const page = Math.min(Math.max(Math.trunc(wanted) || 1, 1), last);
  const begin = (page - 1) * IMAGES_ON_A_PAGE;
  $("images").replaceChildren(...selected.slice(begin, begin + IMAGES_ON_A_PAGE).map(figure));
  $("pages").hidden = last < 2;
  Object.assign($("page"), {value: page, max: last});
  $("last").textContent = last;
  $("back").disabled = page === 1;
  $("next").disabled = page === last;
  scrollTo(0, 0);
}
$("score").addEventListener("input", () => { moved = true; select(); });
for (const id of ["name", "category", "empty"]) $(id).addEventListener("input", select);
$("page").addEventListener("change", () => turn($("page").valueAsNumber));
$("back").addEventListener("click", () => turn($("page").valueAsNumber - 1));
$("next").addEventListener("click", () => turn($("page").valueAsNumber + 1));
select();
</script>
</body>
</html>
"""


def write_web_page(path: Path, summary: RunSummary, overlay_of: Callable[[str], str]) -> None:
    """Write thumbnails of the overlays, filtered by category, score and name.

    The drawings keep the run's own thresholds; the page begins with them. It shows a thousand images at a time and
    filters all of them, so that a browser can show any number.

    Args:
        path: the page.
        summary: what was found.
        overlay_of: path of an image's overlay relative to the page, by the image's file name.
    """
    run = {
        "min_score": summary.min_scores.default,
        "min_scores": {category.id: summary.min_scores.of(category.id) for category in summary.categories},
        "categories": {
            category.id: {"name": category.name, "color": "rgb({}, {}, {})".format(*category_color(category.id))}
            for category in summary.categories
        },
    }
    title = f"{counted(summary.num_objects, 'object')} in {counted(len(summary.images), 'image')} - No Time To Train"
    before, after = _PAGE.replace("@TITLE@", title).split("@RUN@")
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        file.write(before + _script_json(run).removesuffix("}") + ', "images": ')
        separator = "["
        for image in summary.images:
            shown = {
                "name": image.file_name,
                "overlay": quote(overlay_of(image.file_name)),
                "found": [value for category_id, score in image.found for value in (category_id, round(score, 3))],
            }
            file.write(separator + _script_json(shown))
            separator = ", "
        file.write(("[" if separator == "[" else "") + "]}" + after)


def _script_json(content: object) -> str:
    """Return JSON in which no ``</script>`` or ``<!--`` of a name ends the script."""
    return json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
