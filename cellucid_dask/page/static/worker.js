// Counting over cells, in a thread of its own. A message {id, ask, about} is answered {id, answer} or
// {id, error}: `ask` is the name of a function below, `about` its argument. Columns come once and are
// meant by their id afterwards. "hidden" is a list of codes of `group` whose cells are left out.

import { place, project } from "./geometry.js";

/** @typedef {{id: string, codes: Uint8Array | Uint16Array | Float32Array, min: number, max: number, top: number, missing: number, categories: number}} Counted */

/** @type {Map<string, Counted>} */
const columns = new Map();
let points = new Float32Array(0);
let dim = 2;

/** A table of 0 and 1: may a cell of this code be seen? @param {number[]} hidden */
function shownCodes(hidden = []) {
  const shown = new Uint8Array(65536).fill(1);
  for (const code of hidden) shown[code] = 0;
  return shown;
}

/** How often each code occurs: all of 8 and 16 bits, 65,536 steps of floats. @param {Counted} column */
function countCodes({ codes, min, max, top }, groups, hidden) {
  const size = top === 254 ? 256 : 65536;
  const counts = new Uint32Array(size);
  const shown = shownCodes(hidden);
  const step = top ? 1 : (max - min) / (size - 2) || 1;
  for (let i = 0; i < codes.length; i++) {
    if (groups && !shown[groups[i]]) continue;
    if (top) counts[codes[i]]++;
    else counts[Number.isFinite(codes[i]) ? Math.round((codes[i] - min) / step) : size - 1]++;
  }
  return counts;
}

/** Smallest and largest of floats, whose manifest does not say. @param {Counted} column */
function findRange(column) {
  if (Number.isFinite(column.min)) return;
  column.min = Infinity;
  column.max = -Infinity;
  for (const value of column.codes) {
    if (!Number.isFinite(value)) continue;
    if (value < column.min) column.min = value;
    if (value > column.max) column.max = value;
  }
  if (column.min > column.max) column.min = column.max = 0;
}

const asks = {
  /** @param {Counted} column */
  column(column) {
    columns.set(column.id, column);
  },
  forget: ({ id }) => columns.delete(id),
  points(about) {
    ({ points, dim } = about);
  },

  /** Cells of each category; the last number is of cells without one. */
  counts({ group }) {
    const { codes, categories, missing } = columns.get(group);
    const all = new Uint32Array(65536);
    for (let i = 0; i < codes.length; i++) all[codes[i]]++;
    const counts = all.slice(0, categories + 1);
    counts[categories] = all[missing];
    return counts;
  },

  /** What a colour bar shows: range, 256 bins of the cells that are shown, missing ones, and a clip that
   * suits: the 1st to the 99th percentile of what is not zero, among all cells. */
  summary({ column: id, group, hidden }) {
    const column = columns.get(id);
    findRange(column);
    const { min, max, top } = column;
    const all = countCodes(column);
    const some = hidden?.length ? countCodes(column, columns.get(group)?.codes, hidden) : all;
    const last = all.length - 2; // the code after it means missing
    const value = (/** @type {number} */ code) => min + (code * (max - min)) / last;
    const zero = min <= 0 ? Math.round((-min / (max - min || 1)) * last) : -1;
    const skip = zero >= 0 && value(zero) === 0 ? zero : -1;
    let total = 0;
    for (let code = 0; code <= last; code++) if (code !== skip) total += all[code];
    // The low end is below the 1st percentile when that is the value of many cells: they have the gene.
    let low = -1, high = last, below = 0, seen = false;
    for (let code = 0; code <= last; code++) {
      if (code !== skip) below += all[code];
      if (low < 0 && below > total * 0.02) low = code;
      if (!seen && below >= total * 0.99) (high = code), (seen = true);
      if (low < 0 || !seen) continue;
      break;
    }
    do low--; while (low > 0 && !all[low]);
    const bins = new Uint32Array(256);
    for (let code = 0; code <= last; code++) bins[Math.min(255, Math.floor((code * 256) / (last + 1)))] += some[code];
    return { min, max, bins, missing: some[last + 1], clip: [value(Math.max(low, 0)), value(Math.max(high, 0))] };
  },

  /** The cell nearest to a place of the screen, at most a radius away; -1 if none. */
  pick({ matrix, x, y, radius, group, hidden }) {
    const codes = columns.get(group)?.codes;
    const shown = shownCodes(hidden);
    let best = -1, least = Infinity;
    for (let i = 0; i < points.length / dim; i++) {
      if (codes && !shown[codes[i]]) continue;
      const [px, py, depth] = project(matrix, ...place(points, dim, i));
      const distance = ((px - x) / radius[0]) ** 2 + ((py - y) / radius[1]) ** 2;
      if (distance > 1 || distance + depth * 0.1 >= least) continue;
      least = distance + depth * 0.1;
      best = i;
    }
    return best;
  },
};

onmessage = ({ data: { id, ask, about } }) => {
  try {
    const answer = asks[ask](about);
    if (id !== undefined) postMessage({ id, answer });
  } catch (error) {
    if (id !== undefined) postMessage({ id, error: String(error) });
  }
};
