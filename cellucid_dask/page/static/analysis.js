// The region of analyses beside the picture: which one is open, and the field whose categories it compares.

import { button, el, make } from "./dom.js";

/** @typedef {{group: Column | null, by: Column | null, hidden: number[], rows: number[], names: string[]}} Compared */
const KINDS = {
  spread: { title: "Distribution", load: () => import("./spread.js") },
  dots: { title: "Dot plot", load: () => import("./dots.js") },
  select: { title: "Selection", load: () => import("./selection.js") },
};

/** @param {App} app */
export function analysis(app) {
  const { data, state, view, say } = app, box = el("analysis");
  const fields = [...data.fields.values()].filter(({ kind }) => kind === "category");
  const open = (panel) => state.set({ panel });
  const tabs = Object.entries(KINDS).map(([id, { title }]) => button(title, title, () => open(id)));
  const field = make("select", { onchange: () => state.set({ by: field.value === view.shown.group?.key ? "" : field.value }) },
    ...fields.map(({ key }) => make("option", { value: key, textContent: key })));
  const choice = make("label", { className: "row" }, "Categories of ", field), body = make("div");
  box.append(make("div", { className: "row" }, ...tabs, button("×", "Close the analysis", () => open(""))), choice, body);
  const opener = button("Compare", "Compare genes across categories", () => open(state.view.panel ? "" : view.shown.colour ? "spread" : "dots"));
  el("tools").append(opener);

  /** @type {Record<string, {element: HTMLElement, update: (about: Compared) => Promise<void>}>} */
  const made = {};

  /** Which categories of which field, without those that are hidden. @returns {Promise<Compared>} */
  async function compared() {
    const { group } = view.shown, { by: asked, hide } = state.view;
    const known = fields.some(({ key }) => key === asked);
    if (asked && !known) say(`This data set has no field of categories “${asked}”.`);
    const by = known && asked !== group?.key ? await data.column("obs", asked) : group;
    const names = [...(by?.categories ?? []), "(none)"];
    return { group, by, hidden: view.hiddenCodes(group), names, rows: [...names.keys()].filter((i) => by !== group || !hide.includes(i)) };
  }

  view.parts.push(async () => {
    const turn = view.turn, id = state.view.panel, kind = Object.hasOwn(KINDS, id) && KINDS[id];
    if (id && !kind) say(`There is no analysis “${id}”.`);
    opener.ariaPressed = String(!(box.hidden = !kind));
    if (!kind) return;
    tabs.forEach((tab, i) => (tab.ariaPressed = String(Object.keys(KINDS)[i] === id)));
    made[id] ??= (await kind.load()).create(app);
    const about = await compared();
    if (turn !== view.turn) return;
    field.value = about.by?.key ?? "";
    choice.hidden = !about.by;
    if (body.firstChild !== made[id].element) body.replaceChildren(made[id].element);
    await made[id].update(about);
  });
}
