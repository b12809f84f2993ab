// What is looked at, and its address: everything after "#". The same link shows the same view.

/** The parts of the address; those not in it have these values. */
export const DEFAULTS = {
  ds: "", // data set, where there are several
  dim: 0, // 1, 2 or 3 dimensions; 0: the export's choice
  gene: "", // colors, when there is one
  obs: "", // colors otherwise: a field of the cells
  group: "", // field of categories that hides cells and names them; "": obs, or the most telling
  hide: /** @type {number[]} */ ([]), // hidden categories of the group; the one after the last: cells without
  clip: "", // "low,high": values at the ends of the color map; "": found
  map: "ember", // color map
  cam: "", // camera
  size: 1, // of points
  labels: true, // names at the centroids
  graph: false, // neighbor graph
  field: "", // vector field
  with: /** @type {string[]} */ ([]), // panels beside the first: "gene/CD3D", "obs/louvain"
  panel: "", // what the analysis region shows: "spread", "dots" or "select"
  by: "", // field whose categories it compares; "": group
  box: false, // boxes, not violins
  ranked: false, // categories by their mean
  genes: /** @type {string[]} */ ([]), // of the dot plot
  scaled: false, // its colors, for each gene by itself
  lasso: /** @type {string[]} */ ([]), // what is selected, as lasso.js writes it
};

/** Changes that the browser's back button takes back; others only correct the address. */
const STEPS = ["ds", "dim", "gene", "obs", "group"];

function parse(key, text) {
  const like = DEFAULTS[key];
  if (key === "hide") return ranges(text);
  if (Array.isArray(like)) return text.split("\t").filter(Boolean);
  if (typeof like === "boolean") return text !== "0";
  if (typeof like === "number") return Number(text) > 0 ? Number(text) : like;
  return text;
}

function format(key, value) {
  if (key === "hide") return spans(value);
  if (Array.isArray(value)) return value.join("\t");
  return String(typeof value === "boolean" ? Number(value) : value);
}

/** "0-2,7" is 0, 1, 2, 7. */
function ranges(text) {
  const out = new Set();
  for (const [, from, to = from] of text.matchAll(/(\d{1,5})(?:-(\d{1,5}))?/g))
    for (let i = Number(from); i <= Math.min(Number(to), 65535); i++) out.add(i);
  return [...out].sort((a, b) => a - b);
}

/** @param {number[]} numbers in order */
function spans(numbers) {
  const out = [];
  for (const i of numbers) {
    const last = out[out.length - 1];
    if (last?.[1] === i - 1) last[1] = i;
    else out.push([i, i]);
  }
  return out.map(([from, to]) => (from === to ? from : `${from}-${to}`)).join(",");
}

/** Dispatches "change", with `detail` the keys that did. */
export class State extends EventTarget {
  constructor() {
    super();
    this.view = this.read();
    addEventListener("hashchange", () => this.update(this.read(), false));
  }

  /** The view that the address means. */
  read() {
    const view = structuredClone(DEFAULTS);
    for (const [key, text] of new URLSearchParams(location.hash.slice(1))) {
      if (Object.hasOwn(DEFAULTS, key)) view[key] = parse(key, text);
    }
    return view;
  }

  /** Change the view, and the address with it. @param {Partial<typeof DEFAULTS>} patch */
  set(patch) {
    this.update(patch, true);
  }

  update(patch, write) {
    const before = this.view;
    this.view = { ...before, ...patch };
    const changed = Object.keys(patch).filter((key) => format(key, patch[key]) !== format(key, before[key]));
    if (!changed.length) return;
    if (write) {
      const how = changed.some((key) => STEPS.includes(key)) ? "pushState" : "replaceState";
      history[how](null, "", this.address() || location.pathname + location.search);
    }
    this.dispatchEvent(new CustomEvent("change", { detail: changed }));
  }

  address() {
    const parts = Object.keys(DEFAULTS).map((key) => [key, format(key, this.view[key])]);
    const said = parts.filter(([key, text]) => text !== format(key, DEFAULTS[key]));
    return said.length ? `#${new URLSearchParams(said)}` : "";
  }
}
