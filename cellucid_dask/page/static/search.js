// The search box: fields and genes by name or symbol, those that begin with the text first.

import { el, make } from "./dom.js";
import { findGenes } from "./names.js";

const MOST = 60; // rows shown
const RECENT = 8;

/** @param {App} app */
export function search({ data, view, state }) {
  const input = el("query"), list = el("found");
  const item = (kind, key, alias, hint) => ({ kind, key, hint, name: alias ?? key, text: `\n${alias ? `${alias}\n` : ""}${key}\n`.toLowerCase() });
  const items = [
    ...[...data.fields.values()].map(({ key, kind }) => item("obs", key, null, kind)),
    ...[...data.genes.keys()].map((key) => item("gene", key, data.alias(key), data.alias(key) ? key : "gene")),
  ];
  let rows = [], at = -1, several = /** @type {string[]} */ ([]);

  /** Items of a name, whole before beginning before middle. */
  function matches(query) {
    const ranked = [[], [], []];
    for (const one of items) {
      if (one.text.includes(query)) ranked[one.text.includes(`\n${query}\n`) ? 0 : one.text.includes(`\n${query}`) ? 1 : 2].push(one);
    }
    return ranked.flat().slice(0, MOST);
  }

  function open() {
    rows = matches(input.value.trim().toLowerCase());
    list.replaceChildren(...rows.map((one, i) =>
      make("li", { role: "option", id: `option${i}`, onpointerdown: (event) => event.preventDefault(), onclick: () => choose(one) },
        make("span", { textContent: one.name }), make("small", { textContent: one.hint }))));
    several = rows.length ? [] : findGenes(data, input.value).found;
    if (!rows.length) list.append(make("li", { className: "none", textContent: several.length ? `Enter: a dot plot of ${several.length} genes` : "Nothing of that name" }));
    show(true);
    mark(input.value && rows.length ? 0 : -1);
  }

  function show(open) {
    list.hidden = !open;
    input.ariaExpanded = String(open);
    input.removeAttribute("aria-activedescendant");
  }

  /** The row that Enter takes. */
  function mark(i) {
    list.children[at]?.removeAttribute("aria-selected");
    at = i;
    if (i < 0) return;
    list.children[i].ariaSelected = "true";
    list.children[i].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", `option${i}`);
  }

  function choose({ kind, key }) {
    input.value = "";
    show(false);
    view.choose(kind, key);
  }

  /** Genes of a list that was pasted, in the dot plot. */
  function compare() {
    state.set({ panel: "dots", genes: [...new Set([...state.view.genes, ...several])] });
    input.value = "";
    show(false);
  }

  for (const event of ["input", "focus", "click"]) input.addEventListener(event, open);
  input.addEventListener("blur", () => show(false));
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      if (list.hidden) open();
      else if (rows.length) mark((at + step + (at < 0 && step < 0 ? 1 : 0) + rows.length) % rows.length);
    } else if (event.key === "Enter" && !list.hidden && rows[at]) choose(rows[at]);
    else if (event.key === "Enter" && several.length) compare();
    else if (event.key === "Escape") {
      event.preventDefault(); // a browser clears the text by itself, which would open the list again
      input.value = "";
      show(false);
    }
  });

  const seen = [];
  view.addEventListener("shown", () => {
    const { color } = view.shown;
    if (color?.kind === "gene" && !seen.includes(color.key)) seen.unshift(color.key);
    seen.splice(RECENT);
    el("recent").replaceChildren(...seen.map((key) =>
      make("button", { type: "button", textContent: data.alias(key) ?? key, title: key, ariaPressed: String(color?.key === key), onclick: () => view.choose("gene", key) })));
  });
}
