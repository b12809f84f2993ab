// Where the page lies at the root of several exports: which one is looked at.

import { el, make, number } from "./dom.js";
import { Export } from "./export.js";
import { Folder, check } from "./fetch.js";

/** The export to look at: the page says whether one lies beside it or a list of several; if not, the other is tried.
 * @param {string} base the page's folder @param {import("./state.js").State} state */
export async function openData(base, state, say) {
  /** @type {HTMLMetaElement} */
  const beside = document.querySelector('meta[name="cellucid-dask"]');
  const ways = [async () => base, () => chosen(new Folder(base), state, say)].map((way) => async () => Export.open(await way(), state.view.dim));
  if (beside.content === "catalog") ways.reverse();
  return ways[0]().catch((problem) => {
    if (/^(dataset_identity|datasets)\.json is missing/.test(problem.message)) return ways[1]().catch(() => Promise.reject(problem));
    throw problem;
  });
}

/** The address of the data set that is asked for. @param {Folder} folder */
async function chosen(folder, state, say) {
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
  return folder.url(one.path).href;
}
