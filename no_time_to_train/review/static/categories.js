// Choosing a category, for the selected object or for what is drawn next.

import { $, trying } from "./elements.js";
import { change } from "./images.js";
import { post } from "./server.js";
import { drawCategories } from "./shown.js";
import { selectedObject, state, thresholds } from "./state.js";

export async function choose(id) {
  state.category = id;
  $("category-search").value = "";
  const item = selectedObject();
  if (item && !state.candidates.length) await change("relabel", { ids: [item.id], category_id: id });
  drawCategories();
  $("canvas").focus();
}

export async function addCategory() {
  await trying(async () => {
    const added = await post("/api/categories", { name: $("category-search").value });
    if (!state.info.categories.some((entry) => entry.id === added.id)) {
      state.info.categories.push(added);
      thresholds.add(added.id);
    }
    await choose(added.id);
  });
}
