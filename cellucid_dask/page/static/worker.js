// Counting over cells, in a thread of its own. A message {id, ask, about} is answered {id, answer} or
// {id, error}: `ask` is the name of a function here or in a module that comes when it is first asked, `about` its
// argument. Columns come once and are meant by their id afterwards. `hidden` are codes of `group` whose cells are left out.

/** @typedef {{id: string, codes: Codes, min: number, max: number, top: number, missing: number, categories: number}} Counted */
/** @type {Map<string, Counted>} */
export const columns = new Map();
export const placed = { points: new Float32Array(0), dim: 2 };

/** Whether a cell is to be seen. @param {any} about @returns {(cell: number) => boolean | number} */
export function shownCells({ group, hidden = [] }) {
  const codes = columns.get(group)?.codes;
  if (!codes || !hidden.length) return () => true;
  const shown = new Uint8Array(65536).fill(1);
  for (const code of hidden) shown[code] = 0;
  return (cell) => shown[codes[cell]];
}

const asks = {
  column: (column) => void columns.set(column.id, column),
  forget: ({ id }) => void columns.delete(id),
  points: (about) => void Object.assign(placed, about),

  /** Cells of each category; the last number is of cells without one. */
  counts({ group }) {
    const { codes, categories, missing } = columns.get(group), all = new Uint32Array(65536);
    for (let i = 0; i < codes.length; i++) all[codes[i]]++;
    const counts = all.slice(0, categories + 1);
    counts[categories] = all[missing];
    return counts;
  },
};
const others = { summary: () => import("./values.js"), pick: () => import("./values.js") };

async function answer({ id, ask, about }) {
  try {
    const answer = await (asks[ask] ?? (await (others[ask] ?? (() => import("./measures.js")))())[ask])(about);
    if (id !== undefined) postMessage({ id, answer });
  } catch (error) {
    if (id !== undefined) postMessage({ id, error: String(error) });
  }
}

// One after the other: what is forgotten may be what the question before is about.
let queue = Promise.resolve();
onmessage = ({ data }) => (queue = queue.then(() => answer(data)));
