// Genes by the names that people write: ids or symbols, in any case, in a list.

const tables = new WeakMap();

/** @param {import("./export.js").Export} data @returns {Map<string, string>} */
function table(data) {
  if (!tables.has(data)) {
    const lower = new Map();
    for (const key of data.genes.keys()) for (const name of [data.alias(key), key]) if (name && !lower.has(name.toLowerCase())) lower.set(name.toLowerCase(), key);
    tables.set(data, lower);
  }
  return tables.get(data);
}

/** Genes of a list with commas, spaces or lines between, and the names that are none.
 * @param {import("./export.js").Export} data @param {string} text */
export function findGenes(data, text) {
  const find = (name) => (data.genes.has(name) ? name : table(data).get(name.toLowerCase()));
  const found = new Set(), unknown = [];
  for (const part of text.split(/[,;\t\n]/).map((one) => one.trim()).filter(Boolean)) {
    for (const name of find(part) ? [part] : part.split(/\s+/)) {
      const gene = find(name);
      if (gene) found.add(gene);
      else unknown.push(name);
    }
  }
  return { found: [...found], unknown };
}
