// What the worker is asked by analyses and overlays: statistics of groups of cells, the selection, lines and
// arrows. Groups are the categories of a field `by` (the last: cells without any) or, without `by`, the cells inside
// and outside the selection.

import { place, project } from "./geometry.js";
import { Folder } from "./fetch.js";
import { findRange } from "./values.js";
import { columns, placed, shownCells } from "./worker.js";

const BINS = 255; // of a distribution: as many as an 8-bit gene has values

/** @type {Uint8Array} a byte a cell, 1: selected */
let chosen = null;
let arrowsOf = new Float32Array(0);

/** How many groups there are, and of which one a cell is (-1: hidden). @param {any} about */
function grouping({ by, ...about }) {
  const shown = shownCells(about);
  if (!by) return { count: 2, of: (cell) => (shown(cell) ? 1 - chosen[cell] : -1) };
  const { codes, categories } = columns.get(by);
  return { count: categories + 1, of: (cell) => (shown(cell) ? Math.min(codes[cell], categories) : -1) };
}

/** Statistics of a column in each group; `whole` adds quartiles, whiskers and bins. @returns {Measured} */
export function measure({ column: id, whole, ...about }) {
  const column = columns.get(id);
  findRange(column);
  const { codes, min, max, top, missing } = column, { count, of } = grouping(about);
  const value = (code) => (top ? min + (code * (max - min)) / top : code);
  let first = top ? 0 : Number.MIN_VALUE; // the first code above 0
  while (top && first <= top && value(first) <= 0) first++;
  const has = (code) => (top ? code !== missing : Number.isFinite(code));
  /** @type {Group[]} */
  const groups = Array.from({ length: count }, () => ({ cells: 0, n: 0, above: 0, mean: 0 }));
  for (let cell = 0; cell < codes.length; cell++) {
    const group = groups[of(cell)], code = codes[cell];
    if (!group) continue;
    group.cells++;
    if (!has(code)) continue;
    group.n++;
    group.mean += code; // their sum, so far
    if (code >= first) group.above++;
  }
  for (const group of groups) group.mean = group.n ? value(group.mean / group.n) : NaN;
  if (!whole) return { min, max, groups };

  // The codes of each group side by side, in order: what is asked of them is exact.
  let total = 0;
  const starts = groups.map(({ n }) => (total += n) - n), ends = [...starts];
  const sorted = new /** @type {any} */ (codes.constructor)(total);
  for (let cell = 0; cell < codes.length; cell++) {
    const group = of(cell);
    if (group >= 0 && has(codes[cell])) sorted[ends[group]++] = codes[cell];
  }
  const scale = (BINS - 1) / (top || max - min || 1), low = top ? 0 : min;
  groups.forEach((group, i) => {
    const part = sorted.subarray(starts[i], ends[i]).sort();
    const at = (/** @type {number} */ share) => {
      const place = (part.length - 1) * share, below = Math.floor(place), from = value(part[below]);
      return part.length ? from + (value(part[Math.ceil(place)]) - from) * (place - below) : NaN;
    };
    const [q1, , q3] = (group.quartiles = [at(0.25), at(0.5), at(0.75)]), reach = 1.5 * (q3 - q1);
    group.whiskers = [part.find((code) => value(code) >= q1 - reach), part.findLast((code) => value(code) <= q3 + reach)].map(value);
    group.bins = new Uint32Array(BINS);
    for (const code of part) group.bins[Math.round((code - low) * scale)]++;
  });
  return { min, max, groups };
}

/** Select cells whose place on the screen lies in polygons, one after the other. @returns the mask */
export function select({ shapes }) {
  const { points, dim } = placed;
  chosen = shapes.length ? new Uint8Array(points.length / dim) : null;
  for (const { adds, polygon, matrix, points: own = points, dim: width = dim } of shapes) {
    const inside = within(polygon);
    for (let cell = 0; cell < chosen.length; cell++) {
      if (chosen[cell] === adds) continue;
      const [x, y] = project(matrix, ...place(own, width, cell));
      if (inside(x, y)) chosen[cell] = adds;
    }
  }
  return chosen;
}

/** How many cells each category has, and how many of them are selected; the last numbers are of cells without one. */
export function selected(about) {
  const { count, of } = grouping(about), whole = new Uint32Array(count), inside = new Uint32Array(count);
  for (let cell = 0; cell < chosen.length; cell++) {
    const group = of(cell);
    whole[group]++; // of no group, -1: no element
    inside[group] += chosen[cell];
  }
  return { whole, inside };
}

/** The selected cells as CSV; with names where the export has a document of them. */
export async function selectedCells({ base, token, path, names, ...about }) {
  const shown = shownCells(about), document = path && !names && (await new Folder(base, token).json(path));
  names ??= document?.names ?? document;
  const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
  const lines = [names ? "cell,name" : "cell"];
  chosen.forEach((one, cell) => {
    if (one && shown(cell)) lines.push(names ? `${cell},${quoted(names[cell] ?? "")}` : String(cell));
  });
  return `${lines.join("\n")}\n`;
}

export const vectors = (about) => void (arrowsOf = about.vectors);

/** Edges as lines: three coordinates, and the categories of both its ends, for each end of a line. */
export function lines({ edges: [from, to], group }) {
  const { points, dim } = placed;
  const codes = columns.get(group)?.codes, count = from.length;
  const positions = new Float32Array(count * 6), ends = new Uint16Array(count * 4);
  for (let i = 0; i < count; i++) {
    const [a, b] = [from[i], to[i]];
    positions.set(place(points, dim, a), i * 6);
    positions.set(place(points, dim, b), i * 6 + 3);
    if (codes) ends.set([codes[a], codes[b], codes[a], codes[b]], i * 4);
  }
  return { positions, ends };
}

/** The vector field where it is seen: for each square of `step` pixels, the mean place of its cells and
 * their mean vector, six numbers. */
export function arrows({ matrix, width, height, step, ...about }) {
  const { points, dim } = placed;
  const shown = shownCells(about), columnsOf = Math.ceil(width / step), rows = Math.ceil(height / step);
  const sums = new Float64Array(columnsOf * rows * 7);
  for (let i = 0; i < points.length / dim; i++) {
    if (!shown(i)) continue;
    const at = place(points, dim, i);
    const [px, py] = project(matrix, ...at);
    const column = Math.floor(((px + 1) / 2) * columnsOf), row = Math.floor(((1 - py) / 2) * rows);
    if (!(column >= 0 && column < columnsOf && row >= 0 && row < rows)) continue;
    const to = (row * columnsOf + column) * 7;
    for (let c = 0; c < 3; c++) {
      sums[to + c] += at[c];
      if (c < dim) sums[to + 3 + c] += arrowsOf[i * dim + c];
    }
    sums[to + 6]++;
  }
  const out = [];
  for (let at = 0; at < sums.length; at += 7) {
    if (sums[at + 6]) for (let c = 0; c < 6; c++) out.push(sums[at + c] / sums[at + 6]);
  }
  return new Float32Array(out.every(Number.isFinite) ? out : []);
}

/** Whether a place is in a polygon: its line winds around it. @param {number[][]} polygon */
function within(polygon) {
  const xs = polygon.map(([x]) => x), ys = polygon.map(([, y]) => y);
  const left = Math.min(...xs), right = Math.max(...xs), bottom = Math.min(...ys), top = Math.max(...ys);
  return (x, y) => {
    if (!(x >= left && x <= right && y >= bottom && y <= top)) return false;
    let turns = 0;
    for (let i = 0, j = xs.length - 1; i < xs.length; j = i++) {
      if (ys[i] > y === ys[j] > y || x > ((xs[j] - xs[i]) * (y - ys[i])) / (ys[j] - ys[i]) + xs[i]) continue;
      turns += ys[i] > y ? 1 : -1;
    }
    return turns !== 0;
  };
}
