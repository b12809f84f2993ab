// Making elements. Text becomes text, never markup: names come from somebody else's file.

/** @param {string} id @returns {any} */
export const el = (id) => document.getElementById(id);

/** An element with properties (or attributes, where there is no such property) and children.
 * @param {string} tag @param {Record<string, any>} about @param {...(Node | string)} children @returns {any} */
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

/** @param {number} count */
export const number = (count) => count.toLocaleString("en");

/** A value, short. @param {number} value */
export function short(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e6 || (size && size < 1e-3)) return value.toExponential(1).replace("e+", "e");
  return String(+value.toPrecision(size >= 1000 ? 4 : 3));
}
