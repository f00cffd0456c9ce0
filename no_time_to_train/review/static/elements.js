// The elements of the page, and what it says to people.

export const $ = (id) => document.getElementById(id);

export function say(text, isBad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", isBad);
}

export async function trying(work) {
  try {
    return await work();
  } catch (error) {
    say(error.message, true);
    return undefined;
  }
}

export function swatch(color) {
  const span = document.createElement("span");
  span.className = "swatch";
  span.style.background = color;
  return span;
}

export function named(text) {
  const span = document.createElement("span");
  span.className = "name";
  span.textContent = text;
  span.title = text;
  return span;
}

export function small(text) {
  const element = document.createElement("small");
  element.textContent = text;
  return element;
}
