// Where the page lies at the root of several exports: which one is looked at.

import { el, make, number } from "./dom.js";
import { Folder, check } from "./fetch.js";

/** The address of the export to open. @param {string} base the page's folder @param {import("./state.js").State} state */
export async function chooseDataset(base, state) {
  const kind = /** @type {HTMLMetaElement | null} */ (document.querySelector('meta[name="cellucid-dask"]'))?.content;
  if (kind !== "catalog") return base;
  const folder = new Folder(base);
  const { datasets, default: first } = await folder.json("datasets.json");
  const good = (one) => typeof one?.id === "string" && typeof one.path === "string" && one.path.endsWith("/");
  check(Array.isArray(datasets) && datasets.length && datasets.every(good), "datasets.json is damaged: it lists no data sets.");
  const select = el("datasets");
  select.append(...datasets.map(({ id, name, n_cells }) =>
    make("option", { value: id, textContent: `${name || id}${n_cells ? ` (${number(n_cells)} cells)` : ""}` })));
  const asked = state.view.ds;
  const one = datasets.find(({ id }) => id === (asked || first)) ?? datasets[0];
  if (asked && one.id !== asked) el("notice").textContent = `There is no data set “${asked}” here.`;
  select.value = one.id;
  select.hidden = false;
  select.onchange = () => (location.hash = new URLSearchParams({ ds: select.value }).toString());
  return folder.url(one.path).href;
}
