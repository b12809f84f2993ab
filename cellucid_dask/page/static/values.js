// What the worker is asked of the values that color the picture, and of the cell under the pointer.

import { place, project } from "./geometry.js";
import { columns, placed, shownCells } from "./worker.js";

/** @typedef {import("./worker.js").Counted} Counted */

/** Smallest and largest of floats, whose manifest does not say. @param {Counted} column */
export function findRange(column) {
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

/** What a color bar shows. The clip is the 1st to the 99th percentile of what is not zero, among all
 * cells; but where many cells have the low end's value it is below, as they have the gene. @returns {Summary} */
export function summary(about) {
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
}

/** The cell nearest to a place of the screen, at most a radius away; -1 if none. */
export function pick({ matrix, x, y, radius, ...about }) {
  const shown = shownCells(about), { points, dim } = placed;
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
}
