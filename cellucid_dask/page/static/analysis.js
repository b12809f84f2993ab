// The region of analyses beside the picture: which one is open, and the field whose categories it compares.

import { dark } from "./colors.js";
import { button, el, make } from "./dom.js";

const KINDS = {
  spread: ["Distribution", () => import("./spread.js")],
  dots: ["Dot plot", () => import("./dots.js")],
  select: ["Selection", () => import("./selection.js")],
};
const IDS = Object.keys(KINDS);
const KEPT = 200; // measurements

/** @param {App} app */
export async function create(app, opener) {
  const { data, state, view, stats, say } = app, box = el("analysis");
  const fields = [...data.fields.values()].filter(({ kind }) => kind === "category");
  const open = (panel) => state.set({ panel });
  const tabs = IDS.map((id) => button(KINDS[id][0], KINDS[id][0], () => open(id)));
  const field = make("select", { onchange: () => state.set({ by: field.value === view.shown.group.key ? "" : field.value }) },
    ...fields.map(({ key }) => make("option", { value: key, textContent: key })));
  const choice = make("label", { className: "row", hidden: !fields.length }, "Categories of ", field), body = make("div");
  box.append(make("div", { className: "row" }, ...tabs, button("×", "Close the analysis", () => open(""))), choice, body);
  await new Promise((done) => document.head.append(make("link", { rel: "stylesheet", href: new URL("analysis.css", import.meta.url).href, onload: done, onerror: done })));
  const made = {}, known = new Map();
  let drawn = "";

  /** Which categories are compared, of the cells that are not hidden. @returns {Promise<Compared>} */
  async function compared() {
    const { group, hidden } = view.shown, { by: asked, hide } = state.view;
    const other = fields.some(({ key }) => key === asked) && asked !== group.key;
    if (asked && !other && asked !== group?.key) say(`This data set has no field of categories “${asked}”.`);
    const by = other ? await data.column("obs", asked) : group, names = [...(by?.categories ?? []), "(none)"];
    const rows = [...names.keys()].filter((i) => other || !hide.includes(i));
    function measure(column, whole = false) {
      const key = JSON.stringify([column.id, by.id, group.id, hidden, whole]);
      if (!known.has(key)) known.set(key, stats.ask("measure", { column, by, group, hidden, whole }));
      for (const old of [...known.keys()].slice(0, -KEPT)) known.delete(old);
      return known.get(key);
    }
    return { by, names, rows, cells: { group, hidden }, measure };
  }

  async function update() {
    const { turn, shown: { color, group } } = view, { panel: id, by, hide, genes, lasso, map, box: boxes, ranked, scaled } = state.view, at = IDS.indexOf(id);
    if (id && at < 0) say(`There is no analysis “${id}”.`);
    opener.ariaPressed = String(!(box.hidden = at < 0));
    tabs.forEach((tab, i) => (tab.ariaPressed = String(i === at)));
    // Most changes, as of the camera, are none to an analysis.
    const key = JSON.stringify([id, color?.id, group?.id, by, hide, genes, lasso, map, boxes, ranked, scaled, dark()]);
    if (at < 0 || key === drawn) return;
    made[id] ??= (await KINDS[id][1]()).create(app);
    const about = await compared();
    if (turn !== view.turn) return;
    field.value = about.by?.key ?? "";
    body.replaceChildren(made[id].element);
    await made[id].update(about);
    if (turn === view.turn) drawn = key;
  }

  return { press: () => open(state.view.panel ? "" : view.shown.color ? "spread" : "dots"), update };
}
