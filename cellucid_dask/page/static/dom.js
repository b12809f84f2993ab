// Making elements. Text becomes text, never markup: names come from somebody else's file.

/** @returns {any} */
export const el = (id) => document.getElementById(id);

/** An element with properties (listeners, attributes) and children. @param {Record<string, any>} about @returns {any} */
export function make(tag, about = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** @param {string} text @param {string} title what it does, in full */
export function button(text, title, onclick) {
  // Who speaks to the page says what is written on a button: its name has that in it.
  const written = /\w/.test(text) && !title.toLowerCase().includes(text.toLowerCase());
  return make("button", { type: "button", textContent: text, title, ariaLabel: written ? `${text}: ${title}` : title, onclick });
}

export const number = (count) => count.toLocaleString("en");

/** A value in few digits. */
export function short(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e6 || (size && size < 1e-3)) return value.toExponential(1).replace("e+", "e");
  return String(+value.toPrecision(size >= 1000 ? 4 : 3));
}

/** The value of a cell, as the format decodes it. */
export function valueOf({ codes, top, missing }, cell, min, max) {
  if (!top) return codes[cell];
  return codes[cell] === missing ? NaN : min + (codes[cell] * (max - min)) / top;
}
