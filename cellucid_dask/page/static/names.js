// Genes by the names that people write: ids or symbols, in any case, in a list.

const tables = new WeakMap();

/** The gene of a name. @param {import("./export.js").Export} data @param {string} name @returns {string | undefined} */
export function findGene(data, name) {
  if (data.genes.has(name) || !name) return name;
  let table = tables.get(data);
  if (!table) {
    tables.set(data, (table = new Map()));
    for (const key of data.genes.keys()) for (const one of [data.alias(key), key]) if (one && !table.has(one.toLowerCase())) table.set(one.toLowerCase(), key);
  }
  return table.get(name.toLowerCase());
}

/** Genes of a list with commas, spaces or lines between, and the names that are none.
 * @param {import("./export.js").Export} data @param {string} text */
export function findGenes(data, text) {
  const found = new Set(), unknown = [];
  for (const part of text.split(/[,;\t\n]/).map((one) => one.trim()).filter(Boolean)) {
    for (const name of findGene(data, part) ? [part] : part.split(/\s+/)) {
      const gene = findGene(data, name);
      if (gene) found.add(gene);
      else unknown.push(name);
    }
  }
  return { found: [...found], unknown };
}
