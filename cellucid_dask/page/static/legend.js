// The categories of a field: their colours and counts; which are hidden, and which is lit up.

import { el, make, number } from "./dom.js";
import { categoryColour, css, theme } from "./colours.js";

const MOST = 300; // rows shown; the search finds the others
const MANY = 12; // from so many on there is a search

/** @param {import("./main.js").App} app */
export function legend({ data, view, state, picture }) {
  const box = el("legend");
  const fields = [...data.fields.values()].filter((field) => field.kind === "category");
  const field = make("select", { ariaLabel: "Field of categories", onchange: () => view.chooseGroup(field.value) },
    ...fields.map(({ key }) => make("option", { value: key, textContent: key })));
  const all = make("button", { type: "button", textContent: "Show all", onclick: () => state.set({ hide: [] }) });
  const filter = make("input", { type: "search", placeholder: "Find a category", ariaLabel: "Find a category", oninput: rows });
  const list = make("ul"), note = make("p");
  box.append(make("header", {}, field, all), filter, list, note);

  let group = /** @type {import("./export.js").Column | null} */ (null);

  /** @param {Iterable<number>} hide */
  const hide = (hide) => state.set({ hide: [...hide].sort((a, b) => a - b) });

  /** @param {number} i */
  function toggle(i) {
    const hidden = new Set(state.view.hide);
    if (!hidden.delete(i)) hidden.add(i);
    hide(hidden);
  }

  /** @param {number} i show it alone, or all again */
  function isolate(i) {
    const { counts } = view.shown;
    const others = [...counts.keys()].filter((other) => other !== i && (counts[other] || other < group.categories.length));
    const alone = state.view.hide.length === others.length && !state.view.hide.includes(i);
    hide(alone ? [] : others);
  }

  /** @param {number} i -1: none */
  function light(i) {
    picture.lit = i < 0 || state.view.hide.includes(i) ? -1 : i < group.categories.length ? i : group.missing;
    picture.draw();
  }

  /** The rows anew. */
  function rows() {
    const text = filter.value.toLowerCase();
    const { counts } = view.shown;
    const names = [...group.categories, "(none)"];
    const found = names.map((_, i) => i).filter((i) => names[i].toLowerCase().includes(text) && (counts[i] || i < group.categories.length));
    list.replaceChildren(...found.slice(0, MOST).map((i) => row(i, names[i], counts[i])));
    note.textContent = found.length > MOST ? `${number(found.length - MOST)} more: find them by name.` : "";
    marks();
  }

  function row(i, name, count) {
    const box = make("button", { type: "button", role: "checkbox", onclick: () => toggle(i), ondblclick: () => isolate(i), title: name },
      make("i"), make("span", { textContent: name }), make("small", { textContent: number(count) }));
    box.firstChild.style.setProperty("--colour", css(i < group.categories.length ? categoryColour(i) : theme().missing));
    const only = make("button", { type: "button", className: "only", textContent: "only", ariaLabel: `Only ${name}`, onclick: () => isolate(i) });
    const item = make("li", { onpointerenter: () => light(i), onpointerleave: () => light(-1), onfocusin: () => light(i), onfocusout: () => light(-1) }, box, only);
    item.dataset.code = String(i);
    return item;
  }

  /** What is hidden. */
  function marks() {
    const hidden = new Set(state.view.hide);
    for (const item of list.children) item.firstChild.setAttribute("aria-checked", String(!hidden.has(Number(item.dataset.code))));
    all.hidden = !hidden.size;
    box.classList.toggle("plain", Boolean(view.shown.colour));
  }

  view.addEventListener("shown", () => {
    box.hidden = !view.shown.group;
    if (!view.shown.group) return;
    if (group === view.shown.group) return marks();
    group = view.shown.group;
    field.value = group.key;
    filter.value = "";
    filter.hidden = group.categories.length < MANY;
    picture.lit = -1;
    rows();
  });
}
