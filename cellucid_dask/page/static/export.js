// An export: what its documents say, checked, and its columns, each fetched when it is asked for.

import { Folder, Problem, check } from "./fetch.js";

/** @type {Map<string, [any, string]>} */
export const TYPES = new Map([["uint8", [Uint8Array, "u8"]], ["uint16", [Uint16Array, "u16"]], ["uint32", [Uint32Array, ""]], ["float32", [Float32Array, "f32"]]]);
const MOST_CELLS = 1e8; // what a browser could hold at all

/** The name of a key's file, without its end: the rule of the format. */
export const fileName = (key) => key.replace(/[^A-Za-z0-9._-]+/g, "_").replace(/^[._]+|[._]+$/g, "") || "field";

export const isText = (x) => typeof x === "string";
export const isCount = (x) => Number.isSafeInteger(x) && x >= 0;

export class Export {
  /** @param {string} base the folder's address @param {any} identity its first document */
  constructor(base, identity) {
    const { stats, embeddings, export_settings: settings } = identity ?? {};
    const bad = "dataset_identity.json is damaged:";
    check(isCount(stats?.n_cells) && stats.n_cells && isCount(stats.n_genes), `${bad} it does not say how many cells there are.`);
    check(stats.n_cells <= MOST_CELLS, `${bad} ${stats.n_cells} cells are more than a browser can hold.`);
    this.folder = new Folder(base, String(settings?.checksums ?? identity.created_at ?? ""));
    this.identity = identity;
    this.cells = /** @type {number} */ (stats.n_cells);
    this.name = String(identity.name || identity.id || "Data set");
    this.files = embeddings?.files ?? {};
    this.dims = [1, 2, 3].filter((dim) => isText(this.files[`${dim}d`]));
    check(this.dims.length, `${bad} it names no embedding.`);
    this.dim = this.dims.includes(embeddings.default_dimension) ? embeddings.default_dimension : this.dims[this.dims.length - 1];
    /** @type {Map<string, Field>} */ this.fields = new Map();
    /** @type {Map<string, {at: number, min: number, max: number}>} */ this.genes = new Map();
    /** @type {{dim: number, points: Promise<Float32Array>} | null} */ this.first = null;
    this.aliases = []; // other names of the genes, in the same order
    /** @type {Map<string, Promise<Column>>} seen lately, the latest last */ this.seen = new Map();
    this.room = Math.max(16 * 2 ** 20, 6 * this.cells); // bytes of these
  }

  /** @param {string} base @param {number} dim the embedding that will be asked for first */
  static async open(base, dim) {
    const data = new Export(base, await new Folder(base).json("dataset_identity.json"));
    const { folder, identity } = data;
    dim = data.dims.includes(dim) ? dim : data.dim;
    data.first = { dim, points: data.points(dim) };
    data.first.points.catch(() => {}); // told when it is asked for
    const [obs, genes, aliases] = await Promise.all([
      folder.json("obs_manifest.json"),
      identity.stats.n_genes ? folder.json("var_manifest.json") : null,
      isText(identity.gene_aliases) ? folder.json(identity.gene_aliases) : null,
    ]);
    sound("obs_manifest.json", () => data.readFields(obs));
    if (identity.stats.n_genes) sound("var_manifest.json", () => data.readGenes(genes));
    if (Array.isArray(aliases?.names)) data.aliases = aliases.names.map((name) => (isText(name) ? name : null));
    return data;
  }

  readFields(obs) {
    const bad = "obs_manifest.json is damaged";
    check(obs?.n_points === this.cells, `${bad}: it is of another number of cells.`);
    const { continuous, categorical } = (this.schemas = obs._obsSchemas ?? {});
    for (const [key, min, max] of obs._continuousFields ?? []) {
      check(isText(key) && continuous, `${bad}.`);
      this.fields.set(key, { key, kind: "number", dtype: continuous.dtype, categories: [], ...range(min, max), missing: NaN, centroids: {} });
    }
    for (const [key, categories, dtype, missing, centroids] of obs._categoricalFields ?? []) {
      check(isText(key) && categorical && categories.every(isText) && [255, 65535].includes(missing) && categories.length <= missing && /^uint(8|16)$/.test(dtype), `${bad}.`);
      this.fields.set(key, { key, kind: "category", dtype, categories, min: 0, max: 0, missing, centroids: centroids ?? {} });
    }
  }

  readGenes(genes) {
    const bad = "var_manifest.json is damaged";
    check(genes?.n_points === this.cells, `${bad}: it is of another number of cells.`);
    check(genes._varSchema, `${bad}.`);
    this.schema = genes._varSchema;
    genes.fields.forEach(([gene, min, max], at) => {
      check(isText(gene), `${bad}.`);
      this.genes.set(gene, { at, ...range(min, max) });
    });
  }

  /** A gene's symbol, where the export has one beside its id. */
  alias(gene) {
    return this.aliases[this.genes.get(gene)?.at] ?? null;
  }

  /** The positions of the cells. */
  points(dim) {
    const { first } = this;
    this.first = null; // the page gives the array away: the next time it is fetched anew
    if (first?.dim === dim) return first.points;
    return this.folder.array(this.files[`${dim}d`], Float32Array, this.cells * dim);
  }

  /** The vectors of a field, in the scale of the points. */
  vectors(path, dim) {
    return this.folder.array(path, Float32Array, this.cells * dim);
  }

  /** Names of cells, where no document has them. @returns {Promise<any>} */
  async cellNames() {}

  /** Edges, likewise. @returns {Promise<any>} */
  async edges(most) {
    return void most;
  }

  /** @param {"gene" | "obs"} kind @param {string} key @returns {Promise<Column>} */
  column(kind, key) {
    const id = `${kind}/${key}`;
    const column = this.seen.get(id) ?? (kind === "gene" ? this.readGene(id, key) : this.readField(id, key));
    this.seen.delete(id);
    this.seen.set(id, column);
    column.then(() => this.forget(), () => this.seen.delete(id));
    return column;
  }

  /** Let go of what was not asked for lately. */
  async forget() {
    let bytes = 0;
    for (const [id, column] of [...this.seen].reverse()) {
      bytes += (await column.catch(() => null))?.codes.byteLength ?? 0;
      if (bytes > this.room) this.seen.delete(id);
    }
  }

  /** @returns {Promise<Column>} */
  async readGene(id, key) {
    const { min, max } = this.genes.get(key);
    const codes = await this.codes(this.schema.pathPattern, key, this.schema.dtype);
    const alias = this.alias(key);
    return { id, kind: "gene", key, label: alias ? `${alias} (${key})` : key, codes, min, max, ...scale(codes), categories: [], centroids: {} };
  }

  /** @returns {Promise<Column>} */
  async readField(id, key) {
    const { dtype, ...field } = this.fields.get(key);
    const { continuous, categorical } = this.schemas;
    const number = field.kind === "number";
    const codes = await this.codes(number ? continuous.pathPattern : categorical.codesPathPattern, key, dtype);
    return { id, ...field, label: key, codes, ...(number ? scale(codes) : { top: 0 }) };
  }

  codes(pattern, key, dtype) {
    check(isText(pattern) && TYPES.has(dtype), `The manifest does not say where “${key}” is.`);
    const [Type, end] = TYPES.get(dtype);
    return this.folder.array(pattern.replace("{key}", () => fileName(key)).replace("{ext}", end), Type, this.cells);
  }
}

/** Read a document: whatever is not as it should be in it is said of the document. */
function sound(name, read) {
  try {
    read();
  } catch (error) {
    throw error instanceof Problem ? error : new Problem(`${name} is damaged.`);
  }
}

function range(min, max) {
  const given = Number.isFinite(min) && Number.isFinite(max) && min <= max;
  check(given || min === undefined, "A manifest is damaged: a range of values is none.");
  return given ? { min, max } : { min: NaN, max: NaN };
}

function scale(codes) {
  const bits = codes instanceof Float32Array ? 0 : codes.BYTES_PER_ELEMENT * 8;
  return bits ? { top: 2 ** bits - 2, missing: 2 ** bits - 1 } : { top: 0, missing: NaN };
}

/** The export to look at: the page says whether one lies beside it or a list of several; if not, the other is tried.
 * @param {string} base the page's folder @param {import("./state.js").State} state */
export async function openData(base, state, say) {
  /** @type {HTMLMetaElement} */
  const beside = document.querySelector('meta[name="cellucid-dask"]');
  const listed = async () => (await import("./datasets.js")).chosen(new Folder(base), state, say);
  const open = async (/** @type {any[]} */ [href, format]) => (format ? await import("./zarr.js") : Export).open(href, state.view.dim);
  if (beside.content === "zarr") return open([base, "zarr"]);
  const ways = [async () => [base], listed].map((way) => async () => open(await way()));
  if (beside.content === "catalog") ways.reverse();
  return ways[0]().catch((problem) => {
    if (/^(dataset_identity|datasets)\.json is missing/.test(problem.message)) return ways[1]().catch(() => Promise.reject(problem));
    throw problem;
  });
}
