// An export: what its documents say, checked, and its columns, each fetched when it is asked for.

import { Folder, Problem, check } from "./fetch.js";

/** @typedef {Uint8Array | Uint16Array | Float32Array} Codes */
/**
 * What a cell has: a gene's values, a number or a category. The codes are the file's bytes as they are:
 * value = min + code * (max - min) / top, missing where code === missing; floats have top 0 and are values.
 * @typedef {object} Column
 * @property {string} id unlike any other column's: "gene/CD3D"
 * @property {"gene" | "number" | "category"} kind
 * @property {string} key @property {string} label
 * @property {Codes} codes
 * @property {number} min @property {number} max @property {number} top @property {number} missing
 * @property {string[]} categories of a category; else empty
 * @property {Record<string, {category: string, position: number[], n_points: number}[]>} centroids
 */
/** @typedef {{key: string, kind: "number" | "category", categories: string[], min: number, max: number, type: string, missing: number, centroids: any}} Field */

const TYPES = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array };
const EXTENSIONS = { uint8: "u8", uint16: "u16", float32: "f32" };
const MOST_CELLS = 5e8; // what a browser could hold at all

/** The name of a key's file: the rule of the format. @param {string} key */
export const fileName = (key) => key.replace(/[^A-Za-z0-9._-]+/g, "_").replace(/^[._]+|[._]+$/g, "") || "field";

const isText = (/** @type {unknown} */ x) => typeof x === "string";
const isCount = (/** @type {any} */ x) => Number.isSafeInteger(x) && x >= 0;

export class Export {
  /** @param {string} base the folder's address @param {any} identity */
  constructor(base, identity) {
    const { stats, embeddings, export_settings: settings = {} } = identity ?? {};
    const bad = "dataset_identity.json is damaged: ";
    check(isCount(stats?.n_cells) && stats.n_cells > 0 && isCount(stats.n_genes), `${bad}it does not say how many cells there are.`);
    check(stats.n_cells <= MOST_CELLS, `${bad}${stats.n_cells} cells are more than a browser can hold.`);
    this.folder = new Folder(base, String(settings.checksums ?? identity.created_at ?? ""));
    this.identity = identity;
    /** @type {number} */ this.cells = stats.n_cells;
    this.name = String(identity.name || identity.id || "Data set");
    /** @type {Record<string, string>} */ this.files = embeddings?.files ?? {};
    this.dims = [1, 2, 3].filter((dim) => isText(this.files[`${dim}d`]));
    check(this.dims.length, `${bad}it names no embedding.`);
    this.dim = this.dims.includes(embeddings.default_dimension) ? embeddings.default_dimension : this.dims[this.dims.length - 1];
    /** @type {Map<string, Field>} */ this.fields = new Map();
    /** @type {Map<string, number>} of each gene, its place in the manifest */ this.genes = new Map();
    /** @type {(string | null)[]} other names of the genes */ this.aliases = [];
    /** @type {any} */ this.var = null;
    /** @type {any} */ this.obs = null;
    /** @type {Map<string, Promise<Column>>} seen lately, the latest last */ this.seen = new Map();
    // Columns are kept by bytes: some of a large data set's, all of a small one's.
    this.room = Math.max(16 * 2 ** 20, 6 * this.cells);
  }

  /** @param {string} base */
  static async open(base) {
    const data = new Export(base, await new Folder(base).json("dataset_identity.json"));
    const { folder, identity } = data;
    const [obs, genes, aliases] = await Promise.all([
      folder.json("obs_manifest.json"),
      identity.stats.n_genes ? folder.json("var_manifest.json") : null,
      isText(identity.gene_aliases) ? folder.json(identity.gene_aliases) : null,
    ]);
    data.readObs(obs);
    if (genes) data.readGenes(genes);
    if (Array.isArray(aliases?.names)) data.aliases = aliases.names.map((/** @type {any} */ name) => (isText(name) ? name : null));
    return data;
  }

  /** @param {any} obs */
  readObs(obs) {
    const bad = "obs_manifest.json is damaged";
    check(obs?.n_points === this.cells, `${bad}: it is of another number of cells.`);
    this.obs = obs;
    const plain = obs._obsSchemas?.continuous;
    for (const [key, min, max] of obs._continuousFields ?? []) {
      check(isText(key) && isText(plain?.pathPattern), `${bad}.`);
      this.fields.set(key, { key, kind: "number", categories: [], ...range(min, max), type: plain.dtype, missing: NaN, centroids: {} });
    }
    for (const [key, categories, type, missing, centroids] of obs._categoricalFields ?? []) {
      check(isText(key) && Array.isArray(categories) && categories.every(isText) && categories.length <= 65535, `${bad}.`);
      this.fields.set(key, { key, kind: "category", categories, min: 0, max: 0, type, missing, centroids: centroids ?? {} });
    }
  }

  /** @param {any} genes */
  readGenes(genes) {
    const bad = "var_manifest.json is damaged";
    check(genes?.n_points === this.cells, `${bad}: it is of another number of cells.`);
    check(Array.isArray(genes.fields) && isText(genes._varSchema?.pathPattern), `${bad}.`);
    this.var = genes;
    genes.fields.forEach((/** @type {any} */ field, /** @type {number} */ at) => {
      check(isText(field?.[0]), `${bad}.`);
      this.genes.set(field[0], at);
    });
  }

  /** The positions of the cells. @param {number} dim */
  points(dim) {
    return this.folder.array(this.files[`${dim}d`], Float32Array, this.cells * dim, dim);
  }

  /** A gene's symbol, where the export has one beside its id. @param {string} gene */
  alias(gene) {
    return this.aliases[this.genes.get(gene) ?? -1] ?? null;
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

  /** @param {string} id @param {string} key @returns {Promise<Column>} */
  async readGene(id, key) {
    const schema = this.var._varSchema;
    const [, low, high] = this.var.fields[this.genes.get(key) ?? -1];
    const codes = await this.codes(schema.pathPattern, key, schema.dtype);
    const alias = this.alias(key);
    return { id, kind: "gene", key, label: alias ? `${alias} (${key})` : key, codes, ...range(low, high), ...scale(codes), categories: [], centroids: {} };
  }

  /** @param {string} id @param {string} key @returns {Promise<Column>} */
  async readField(id, key) {
    const field = /** @type {Field} */ (this.fields.get(key));
    const { kind, categories, min, max, centroids, type } = field;
    const schemas = this.obs._obsSchemas;
    const pattern = kind === "number" ? schemas.continuous.pathPattern : schemas.categorical?.codesPathPattern;
    const codes = await this.codes(pattern, key, type);
    const known = kind === "number" ? scale(codes) : { top: 0, missing: field.missing };
    return { id, kind, key, label: key, codes, min, max, ...known, categories, centroids };
  }

  /** @param {unknown} pattern @param {string} key @param {string} dtype @returns {Promise<Codes>} */
  codes(pattern, key, dtype) {
    const type = /** @type {"uint8"} */ (dtype);
    check(typeof pattern === "string" && TYPES[type], `The manifest does not say where “${key}” is.`);
    const path = pattern.replace("{key}", () => fileName(key)).replace("{ext}", EXTENSIONS[type]);
    return this.folder.array(path, TYPES[type], this.cells);
  }
}

/** @param {unknown} min @param {unknown} max */
function range(min, max) {
  const given = Number.isFinite(min) && Number.isFinite(max) && Number(min) <= Number(max);
  check(given || min === undefined, "A manifest is damaged: a range is no range.");
  return { min: given ? Number(min) : NaN, max: given ? Number(max) : NaN };
}

/** @param {Codes} codes */
function scale(codes) {
  if (codes instanceof Float32Array) return { top: 0, missing: NaN };
  return codes instanceof Uint8Array ? { top: 254, missing: 255 } : { top: 65534, missing: 65535 };
}

export { Problem };
