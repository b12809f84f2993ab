// Where the page lies at the root of several exports: which one is looked at.

import { el, make, number } from "./dom.js";
import { check } from "./fetch.js";

/** The address of the data set that is asked for and, if not `Export`'s, its format. @param {import("./fetch.js").Folder} folder @param {import("./state.js").State} state */
export async function chosen(folder, state, say) {
  const { datasets, default: first } = (await folder.json("datasets.json")) ?? {};
  const good = (one) => typeof one?.id === "string" && typeof one.path === "string" && one.path.endsWith("/");
  check(Array.isArray(datasets) && datasets.length && datasets.every(good), "datasets.json is damaged: it lists no data sets.");
  const select = el("datasets"), asked = state.view.ds;
  select.append(...datasets.map(({ id, name, n_cells }) => make("option", { value: id, textContent: `${name || id} (${number(Number(n_cells))} cells)` })));
  const one = datasets.find(({ id }) => id === (asked || first)) ?? datasets[0];
  if (asked && one.id !== asked) say(`There is no data set “${asked}” here.`);
  select.value = one.id;
  select.hidden = false;
  select.onchange = () => (location.hash = String(new URLSearchParams({ ds: select.value })));
  return [folder.url(one.path).href, one.format];
}
