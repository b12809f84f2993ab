// What is looked at, and its address: everything after "#". The same link shows the same view.

/** The parts of the address; those not in it have these values. A list is of whole numbers. */
export const DEFAULTS = {
  ds: "", // data set, where there are several
  dim: 0, // 1, 2 or 3 dimensions; 0: the export's choice
  gene: "", // colours, when there is one
  obs: "", // colours otherwise: a field of the cells
  group: "", // field of categories that hides cells and names them; "": obs, or the most telling
  hide: /** @type {number[]} */ ([]), // hidden categories of the group
  clip: "", // "low,high": values at the ends of the colour map; "": 1st to 99th percentile
  map: "ember", // colour map
  cam: "", // camera
  size: 1, // of points
  labels: true, // names at the centroids
  graph: false, // neighbour graph
  field: "", // vector field
  with: /** @type {string[]} */ ([]), // genes in further panels beside the first
  panel: "", // what the analysis region shows
};
/** @typedef {typeof DEFAULTS} View */
/** @typedef {keyof View} Key */

/** Steps that the browser's back button takes back; others only correct the address. */
const STEPS = new Set(["ds", "dim", "gene", "obs", "group"]);

/** @param {Key} key @param {string} text @returns {any} */
function parse(key, text) {
  const like = DEFAULTS[key];
  if (key === "hide") return ranges(text);
  if (Array.isArray(like)) return text.split("\t").filter(Boolean);
  if (typeof like === "boolean") return text !== "0";
  if (typeof like === "number") return Number.isFinite(Number(text)) ? Number(text) : like;
  return text;
}

/** @param {Key} key @param {any} value */
function format(key, value) {
  if (key === "hide") return spans(value);
  if (Array.isArray(value)) return value.join("\t");
  return typeof value === "boolean" ? String(Number(value)) : String(value);
}

/** "0-2,7" is 0, 1, 2, 7. @param {string} text */
function ranges(text) {
  const out = new Set();
  for (const part of text.split(",")) {
    const [, from, to = from] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? [];
    if (from) for (let i = Number(from); i <= Math.min(Number(to), 65535); i++) out.add(i);
  }
  return [...out].sort((a, b) => a - b);
}

/** @param {number[]} numbers sorted */
function spans(numbers) {
  const out = /** @type {number[][]} */ ([]);
  for (const i of numbers) {
    const last = out[out.length - 1];
    if (last && last[1] === i - 1) last[1] = i;
    else out.push([i, i]);
  }
  return out.map(([from, to]) => (from === to ? from : `${from}-${to}`)).join(",");
}

/** Dispatches "change", with `detail` the set of keys that did. */
export class State extends EventTarget {
  constructor() {
    super();
    /** @type {View} */ this.view = this.read();
    addEventListener("hashchange", () => this.update(this.read(), false));
  }

  /** @returns {View} */
  read() {
    const view = structuredClone(DEFAULTS);
    for (const [key, text] of new URLSearchParams(location.hash.slice(1))) {
      if (key in DEFAULTS) /** @type {any} */ (view)[key] = parse(/** @type {Key} */ (key), text);
    }
    return view;
  }

  /** @param {Partial<View>} patch */
  set(patch) {
    this.update(patch, true);
  }

  /** @param {Partial<View>} patch @param {boolean} write the address */
  update(patch, write) {
    const view = { ...this.view, ...patch };
    const changed = new Set(/** @type {Key[]} */ (Object.keys(patch)).filter((key) => format(key, view[key]) !== format(key, this.view[key])));
    if (!changed.size) return;
    this.view = view;
    if (write) {
      const step = [...changed].some((key) => STEPS.has(key));
      history[step ? "pushState" : "replaceState"](null, "", this.address() || location.pathname + location.search);
    }
    this.dispatchEvent(new CustomEvent("change", { detail: changed }));
  }

  address(view = this.view) {
    const parts = /** @type {Key[]} */ (Object.keys(DEFAULTS))
      .map((key) => [key, format(key, view[key])])
      .filter(([key, text]) => text !== format(/** @type {Key} */ (key), DEFAULTS[/** @type {Key} */ (key)]));
    return parts.length ? `#${new URLSearchParams(parts)}` : "";
  }
}
