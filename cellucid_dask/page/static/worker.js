// Counting over cells, in a thread of its own. A message {id, ask, about} is answered {id, answer} or
// {id, error}: `ask` is the name of a function below, `about` its argument. Columns come once and are
// meant by their id afterwards. `hidden` are codes of `group` whose cells are left out.

import { place, project } from "./geometry.js";

/** @typedef {{id: string, codes: Codes, min: number, max: number, top: number, missing: number, categories: number}} Counted */
/** @type {Map<string, Counted>} */
const columns = new Map();
let points = new Float32Array(0), dim = 2;

/** Whether a cell is to be seen. @param {any} about @returns {(cell: number) => boolean | number} */
function shownCells({ group, hidden = [] }) {
  const codes = columns.get(group)?.codes;
  if (!codes || !hidden.length) return () => true;
  const shown = new Uint8Array(65536).fill(1);
  for (const code of hidden) shown[code] = 0;
  return (cell) => shown[codes[cell]];
}

/** Smallest and largest of floats, whose manifest does not say. @param {Counted} column */
function findRange(column) {
  if (Number.isFinite(column.min)) return;
  let min = Infinity, max = -Infinity;
  for (const value of column.codes) {
    if (value < min && value > -Infinity) min = value;
    if (value > max && value < Infinity) max = value;
  }
  Object.assign(column, min > max ? { min: 0, max: 0 } : { min, max });
}

/** How often each code occurs, of floats each of 65,535 steps; the last means missing. @param {Counted} column */
function countCodes({ codes, min, max, top }, shown) {
  const counts = new Uint32Array(top === 254 ? 256 : 65536), last = counts.length - 2;
  const scale = last / (max - min || 1);
  for (let i = 0; i < codes.length; i++) {
    if (!shown(i)) continue;
    if (top) counts[codes[i]]++;
    else counts[Number.isFinite(codes[i]) ? Math.round((codes[i] - min) * scale) : last + 1]++;
  }
  return counts;
}

/** The cells above a code, where they are few. @param {Counted} column @param {number} code */
function above({ codes }, code) {
  let count = 0;
  for (const one of codes) if (one > code) count++;
  if (count * 2 > codes.length) return null;
  const cells = new Uint32Array(count);
  for (let cell = codes.length - 1; count; cell--) if (codes[cell] > code) cells[--count] = cell;
  return { code, cells };
}

const asks = {
  column: (column) => void columns.set(column.id, column),
  forget: ({ id }) => void columns.delete(id),
  points: (about) => void ({ points, dim } = about),

  /** Cells of each category; the last number is of cells without one. */
  counts({ group }) {
    const { codes, categories, missing } = columns.get(group), all = new Uint32Array(65536);
    for (let i = 0; i < codes.length; i++) all[codes[i]]++;
    const counts = all.slice(0, categories + 1);
    counts[categories] = all[missing];
    return counts;
  },

  /** What a color bar shows. The clip is the 1st to the 99th percentile of what is not zero, among all
   * cells; but where many cells have the low end's value it is below, as they have the gene. @returns {Summary} */
  summary(about) {
    const column = columns.get(about.column);
    findRange(column);
    const { min, max } = column;
    const all = countCodes(column, () => true), some = about.hidden.length ? countCodes(column, shownCells(about)) : all;
    const last = all.length - 2;
    const value = (code) => min + (code * (max - min)) / last;
    const found = all.slice(0, last + 1);
    const zero = Math.round((-min / (max - min || 1)) * last);
    if (value(zero) === 0) found[zero] = 0;
    const total = found.reduce((sum, count) => sum + count, 0);
    const reaches = (/** @type {number} */ share) => {
      let sum = 0;
      return Math.max(0, found.findIndex((count) => (sum += count) && sum >= total * share));
    };
    let low = reaches(0.01);
    const upTo = found.subarray(0, low + 1).reduce((sum, count) => sum + count, 0);
    if (upTo > total * 0.02) do low--; while (low > 0 && !all[low]);
    const bins = new Uint32Array(256);
    for (let code = 0; code <= last; code++) bins[Math.floor((code * 256) / (last + 1))] += some[code];
    low = Math.max(low, 0);
    const gaps = all[last + 1] > 0, few = gaps ? null : above(column, column.top ? low : Math.fround(value(low)));
    return { min, max, bins, missing: some[last + 1], gaps, clip: [value(low), value(reaches(0.99))], few };
  },

  /** The cell nearest to a place of the screen, at most a radius away; -1 if none. */
  pick({ matrix, x, y, radius, ...about }) {
    const shown = shownCells(about);
    let best = -1, least = Infinity;
    for (let i = 0; i < points.length / dim; i++) {
      if (!shown(i)) continue;
      const [px, py, depth] = project(matrix, ...place(points, dim, i));
      const distance = ((px - x) / radius[0]) ** 2 + ((py - y) / radius[1]) ** 2;
      if (distance > 1 || distance + depth * 0.2 >= least) continue;
      least = distance + depth * 0.2;
      best = i;
    }
    return best;
  },
};

/** @type {any} what is asked only by analyses and overlays */
let others = null;
let queue = Promise.resolve();

async function answer({ id, ask, about }) {
  try {
    if (!asks[ask]) others ??= (await import("./measures.js")).measures(columns, shownCells, findRange, () => ({ points, dim }));
    const answer = await (asks[ask] ?? others[ask])(about);
    if (id !== undefined) postMessage({ id, answer });
  } catch (error) {
    if (id !== undefined) postMessage({ id, error: String(error) });
  }
}

// One after the other: what is forgotten may be what the question before is about.
onmessage = ({ data }) => (queue = queue.then(() => answer(data)));
