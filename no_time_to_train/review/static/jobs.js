// What takes longer than a click: an export, labeling again.

import { say, trying } from "./elements.js";
import { load, openAgain } from "./images.js";
import { drawImages, putInOrder } from "./list.js";
import { sendThresholds } from "./scores.js";
import { get, post } from "./server.js";
import { drawCategories, drawThresholds } from "./shown.js";
import { state, thresholds } from "./state.js";

export async function runJob(name, values) {
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
      await takeState();
      await openAgain();
      say(job.message);
    }
  });
}

// The program's whole state: at the start, and when all images were labeled again.
export async function takeState() {
  state.info = await get("/api/state");
  thresholds.take(state.info.min_scores, state.info.run_min_scores);
  putInOrder();
  if (state.number < 0 && state.order.length) load(state.order[0]); // beside the drawing of the list
  drawImages();
  drawCategories();
  drawThresholds();
}
