// Requests to the program that serves this page. Errors carry the program's own message.

export async function get(path) {
  return answerOf(await fetch(path, { headers: { accept: "application/json" } }));
}

export async function post(path, values = {}) {
  return answerOf(await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(values),
  }));
}

async function answerOf(response) {
  const text = await response.text();
  let content = {};
  try { content = JSON.parse(text); } catch { content = { error: text }; }
  if (!response.ok) throw new Error(content.error || `the program answered ${response.status}`);
  return content;
}

export async function pixels(number) {
  const response = await fetch(`/api/images/${number}/pixels`);
  if (!response.ok) throw new Error((await response.json()).error || "the image cannot be shown");
  return createImageBitmap(await response.blob(), { imageOrientation: "none" });
}
