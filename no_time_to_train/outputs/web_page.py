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
header label { margin-right: 18px; white-space: nowrap; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 14px; padding: 20px; }
figure { margin: 0; background: var(--card); border-radius: 8px; overflow: hidden; box-shadow: 0 1px 3px #0002; }
figure img { width: 100%; height: 200px; object-fit: contain; background: var(--frame); display: block; }
figcaption { padding: 8px 10px; overflow-wrap: anywhere; }
.chip { display: inline-block; border-radius: 9px; padding: 0 8px; margin: 2px 4px 0 0; font-size: 13px;
        border: 2px solid; }
</style>
</head>
<body>
<header>
<label>Category <select id="category"></select></label>
<label>Score from <input id="score" type="range" min="0" max="1" step="0.01"> <output id="shown"></output></label>
<label><input id="empty" type="checkbox"> images without objects too</label>
<strong id="total"></strong>
</header>
<main id="images"></main>
<script>
"use strict";
const run = @RUN@;
const counted = (number, noun) => number + " " + noun + (number === 1 ? "" : "s");
const element = (name, properties) => Object.assign(document.createElement(name), properties);
const category = document.getElementById("category");
const score = document.getElementById("score");
const empty = document.getElementById("empty");
category.append(element("option", {value: "", textContent: "all"}));
for (const [id, {name}] of Object.entries(run.categories)) {
  category.append(element("option", {value: id, textContent: name}));
}
score.value = run.min_score;
let moved = false;
const own = [...new Set(Object.values(run.min_scores))];
const lowest = (id) => (moved ? score.valueAsNumber : run.min_scores[id]);
score.addEventListener("input", () => { moved = true; show(); });
empty.checked = true;
function show() {
  let images = 0, objects = 0;
  const figures = [];
  for (const image of run.images) {
    const counts = {};
    for (const [id, value] of image.found) {
      if (value >= lowest(id) && (!category.value || String(id) === category.value)) {
        counts[id] = (counts[id] || 0) + 1;
        objects += 1;
      }
    }
    if (!Object.keys(counts).length && !empty.checked) continue;
    images += 1;
    const caption = element("figcaption", {textContent: image.name});
    caption.append(element("br", {}));
    for (const [id, count] of Object.entries(counts)) {
      const chip = element("span", {className: "chip", textContent: run.categories[id].name + " " + count});
      chip.style.borderColor = run.categories[id].color;
      caption.append(chip);
    }
    const link = element("a", {href: image.overlay, target: "_blank"});
    link.append(element("img", {src: image.overlay, loading: "lazy", alt: image.name}));
    const figure = element("figure", {});
    figure.append(link, caption);
    figures.push(figure);
  }
  document.getElementById("images").replaceChildren(...figures);
  document.getElementById("shown").textContent =
    moved || own.length < 2 ? (moved ? score.valueAsNumber : own[0] ?? run.min_score).toFixed(2) : "of each category";
  document.getElementById("total").textContent = counted(objects, "object") + " in " + counted(images, "image");
}
for (const control of [category, score, empty]) control.addEventListener("change", show);
show();
</script>
</body>
</html>
"""


def write_web_page(path: Path, summary: RunSummary, overlay_of: Callable[[str], str]) -> None:
    """Write thumbnails of the overlays, filtered by category and score.

    The drawings keep the run's own thresholds; the page begins with them.

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
                "found": [[category_id, round(score, 3)] for category_id, score in image.found],
            }
            file.write(separator + _script_json(shown))
            separator = ", "
        file.write(("[" if separator == "[" else "") + "]}" + after)


def _script_json(content: object) -> str:
    """Return JSON in which no ``</script>`` or ``<!--`` of a name ends the script."""
    return json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
