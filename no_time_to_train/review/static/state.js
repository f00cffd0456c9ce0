// What the page knows: what the program told it, and where the person is. Decisions live in the program, not here.

import { Thresholds } from "./thresholds.js";

export const state = {
  info: null, order: [], number: -1, image: null, selected: null,
  tool: "select", mending: null, points: [], candidates: [], candidate: 0, asking: 0,
};
export const thresholds = new Thresholds();

export const category = (id) => state.info.categories.find((entry) => entry.id === id) || { name: `category ${id}`, color: "rgb(200, 200, 200)" };
export const isShown = (item) => item.status === "kept" || (item.status === "undecided" && item.score >= thresholds.of(item.category_id));
export const shownObjects = () => (state.image ? state.image.objects.filter(isShown) : []);
export const selectedObject = () => state.image?.objects.find((item) => item.id === state.selected);
