// The categories of a field: their colors and counts; which are hidden, and which is lit up.

import { categoryColor, css, theme } from "./colors.js";
import { button, el, make, number } from "./dom.js";

const MOST = 300; // rows shown; the search finds the others
const MANY = 12; // from so many on there is a search

/** @param {App} app */
export function legend({ data, view, state, picture }) {
  const box = el("legend");
  const groups = [...data.fields.values()].filter(({ kind }) => kind === "category");
  const field = make("select", { ariaLabel: "Field of categories", onchange: () => view.chooseGroup(field.value) },
    ...groups.map(({ key }) => make("option", { value: key, textContent: key })));
  const all = button("Show all", "Show all categories", () => state.set({ hide: [] }));
  const filter = make("input", { type: "search", placeholder: "Find a category", ariaLabel: "Find a category", oninput: rows });
  const list = make("ul"), note = make("p");
  box.append(make("header", {}, field, all), filter, list, note);
  let group = /** @type {Column | null} */ (null);

  const hide = (codes) => state.set({ hide: [...codes].sort((a, b) => a - b) });
  /** Is there anything of it? All categories count, but cells without one only where there are some. */
  const exists = (i) => i < group.categories.length || view.shown.counts[i];

  function toggle(i) {
    const hidden = new Set(state.view.hide);
    if (!hidden.delete(i)) hidden.add(i);
    hide(hidden);
  }

  /** Show one alone; or, where it is, all again. */
  function isolate(i) {
    const others = [...view.shown.counts.keys()].filter((other) => other !== i && exists(other));
    const alone = state.view.hide.length === others.length && !state.view.hide.includes(i);
    hide(alone ? [] : others);
  }

  /** @param {number} i -1: none */
  function light(i) {
    const lit = i < 0 || state.view.hide.includes(i) ? -1 : i < group.categories.length ? i : group.missing;
    if (picture.lit === lit) return;
    picture.lit = lit;
    picture.draw();
  }

  function rows() {
    const text = filter.value.toLowerCase(), names = [...group.categories, "(none)"];
    const found = [...names.keys()].filter((i) => exists(i) && names[i].toLowerCase().includes(text));
    list.replaceChildren(...found.slice(0, MOST).map((i) => row(i, names[i])));
    note.textContent = found.length > MOST ? `${number(found.length - MOST)} more: find them by name.` : "";
    marks();
  }

  function row(i, name) {
    const box = make("button", { type: "button", role: "checkbox", title: name, onclick: () => toggle(i), ondblclick: () => isolate(i) },
      make("i"), make("span", { textContent: name }), make("small", { textContent: number(view.shown.counts[i]) }));
    box.firstChild.style.setProperty("--color", css(i < group.categories.length ? categoryColor(i) : theme().missing));
    const only = button("only", `Only ${name}`, () => isolate(i));
    only.className = "only";
    return make("li", { value: i, onpointerenter: () => light(i), onpointerleave: () => light(-1), onfocusin: () => light(i), onfocusout: () => light(-1) }, box, only);
  }

  function marks() {
    const hidden = new Set(state.view.hide);
    for (const item of list.children) item.firstChild.ariaChecked = String(!hidden.has(item.value));
    all.hidden = !hidden.size;
    box.classList.toggle("plain", Boolean(view.shown.color)); // the colors are not the categories'
  }

  view.addEventListener("shown", () => {
    box.hidden = !view.shown.group;
    if (!view.shown.group || group === view.shown.group) return marks();
    group = view.shown.group;
    field.value = group.key;
    filter.value = "";
    filter.hidden = group.categories.length < MANY;
    picture.lit = -1;
    rows();
  });
}
