// The search box: fields and genes by name or symbol, those that begin with the text first.

import { el, make } from "./dom.js";

const MOST = 60; // rows shown
const RECENT = 8;

/** @param {import("./main.js").App} app */
export function search({ data, view, state }) {
  const input = el("query"), list = el("found"), recent = el("recent");
  /** @typedef {{kind: "gene" | "obs", key: string, alias: string | null, text: string}} Item */
  const lower = (key, alias) => (alias ? `${alias}\n${key}` : key).toLowerCase();
  /** @type {Item[]} */
  const items = [
    ...[...data.fields.keys()].map((key) => ({ kind: /** @type {"obs"} */ ("obs"), key, alias: null, text: lower(key) })),
    ...[...data.genes.keys()].map((key) => ({ kind: /** @type {"gene"} */ ("gene"), key, alias: data.alias(key), text: lower(key, data.alias(key)) })),
  ];
  let rows = /** @type {Item[]} */ ([]), at = -1;

  /** @param {string} query */
  function matches(query) {
    if (!query) return items.slice(0, MOST);
    const ranked = /** @type {Item[][]} */ ([[], [], []]);
    for (const item of items) {
      const found = `\n${item.text}\n`.indexOf(`\n${query}`);
      if (found >= 0) ranked[`\n${item.text}\n`.includes(`\n${query}\n`) ? 0 : 1].push(item);
      else if (ranked[2].length < MOST && item.text.includes(query)) ranked[2].push(item);
    }
    return ranked.flat().slice(0, MOST);
  }

  function open() {
    rows = matches(input.value.trim().toLowerCase());
    list.replaceChildren(
      ...rows.map((item, i) =>
        make("li", { role: "option", id: `option${i}`, onpointerdown: (event) => event.preventDefault(), onclick: () => choose(item) },
          make("span", { textContent: item.alias ?? item.key }),
          make("small", { textContent: item.alias ? item.key : item.kind === "obs" ? data.fields.get(item.key).kind : "gene" }))),
    );
    if (!rows.length) list.append(make("li", { className: "none", textContent: "Nothing of that name" }));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    mark(input.value && rows.length ? 0 : -1);
  }

  function close() {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  /** @param {number} i the row that Enter takes */
  function mark(i) {
    list.children[at]?.removeAttribute("aria-selected");
    at = i;
    if (i < 0) return;
    list.children[i].setAttribute("aria-selected", "true");
    list.children[i].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", `option${i}`);
  }

  /** @param {Item} item */
  function choose(item) {
    input.value = "";
    close();
    view.choose(item.kind, item.key);
  }

  input.addEventListener("input", open);
  input.addEventListener("focus", open);
  input.addEventListener("click", open);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps) {
      event.preventDefault();
      if (list.hidden) return open();
      if (rows.length) mark((at + steps[event.key] + rows.length) % rows.length);
    } else if (event.key === "Enter" && !list.hidden && rows[at]) choose(rows[at]);
    else if (event.key === "Escape") close();
    else return;
    event.stopPropagation();
  });

  const seen = /** @type {string[]} */ ([]);
  view.addEventListener("shown", () => {
    const { colour } = view.shown;
    if (colour?.kind === "gene" && !seen.includes(colour.key)) seen.unshift(colour.key);
    seen.splice(RECENT);
    recent.replaceChildren(
      ...seen.map((key) =>
        make("button", { type: "button", textContent: data.alias(key) ?? key, title: key, ariaPressed: String(state.view.gene === key), onclick: () => view.choose("gene", key) })),
    );
  });
}
