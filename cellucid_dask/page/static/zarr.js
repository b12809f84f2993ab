// An export in the format cellucid-zarr: an AnnData in Zarr version 2. Loaded only where one lies beside the page.

import { Export, isCount, isText } from "./export.js";
import { Folder, check } from "./fetch.js";
import { METADATA, Store, together } from "./store.js";

const GRAPH = "obsp/connectivities";
const SHOWN = ["X_umap", "X_UMAP", "X_wnn.umap", "X_ref.umap"];

/** The range of the values that are numbers. */
function ranged(values) {
  let min = Infinity, max = -Infinity;
  for (const value of values) {
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return min <= max ? { min, max } : { min: 0, max: 0 };
}

class ZarrExport extends Export {
  /** @param {string} base @param {Store} store @param {any} identity @param {any} shown key and columns by dimension */
  constructor(base, store, identity, shown) {
    super(base, identity);
    this.store = store;
    this.shown = shown;
    this.indptr = null;
    this.scales = {};
  }

  async readNames() {
    const { store } = this, column = await store.text("uns/cellucid/defaults/geneIdColumn");
    const names = this.identity.stats.n_genes ? await this.labels(column ? `var/${column}` : "var/_index") : [];
    check(names.length === this.identity.stats.n_genes, `${METADATA} is damaged: var and X are of another number of genes.`);
    names.forEach((gene, at) => this.genes.set(gene, { at, min: NaN, max: NaN }));
    for (const key of store.attributes("obs")["column-order"] ?? []) {
      const path = `obs/${key}`, kind = store.kind(path), bool = /boolean/.test(kind) || (store.has(path) && store.spec(path).dtype === "|b1");
      if (kind === "string-array") continue; // names of cells
      const group = bool || kind === "categorical", count = bool ? 2 : group ? store.spec(`${path}/categories`).shape[0] : 0;
      if (count > 65534) continue;
      this.fields.set(key, { key, kind: group ? "category" : "number", dtype: "float32", categories: group ? new Array(count).fill("") : [], min: NaN, max: NaN, missing: NaN, centroids: {} });
    }
  }

  /** Texts by position, of an array of them or of categories. */
  async labels(path) {
    if (this.store.kind(path) !== "categorical") return Array.from(await this.store.whole(path), String);
    const [codes, names] = await Promise.all([this.store.whole(`${path}/codes`), this.store.whole(`${path}/categories`)]);
    return Array.from(codes, (code) => String(names[code] ?? ""));
  }

  async points(dim) {
    const { first } = this;
    this.first = null;
    return first?.dim === dim ? first.points : this.placed(dim);
  }

  async placed(dim) {
    const { key, columns } = this.shown[dim], points = await this.rows(`obsm/${key}`, columns);
    this.scales[dim] = center(points, dim);
    return points;
  }

  /** Some columns of a dense array, which lie in the same chunks, row after row. */
  async rows(path, columns) {
    const { shape: [rows], chunks: [height, width] } = this.store.spec(path), dim = columns.length;
    check(rows === this.cells, `${METADATA} is damaged: ${path} is of another number of cells.`);
    const values = new Float32Array(rows * dim);
    await together(Array.from({ length: Math.ceil(rows / height) }, (_, i) => i), async (i) => {
      const chunk = await this.store.chunk(path, [i, Math.floor(columns[0] / width)]);
      for (let row = i * height; row < Math.min((i + 1) * height, rows); row++) columns.forEach((column, axis) => (values[row * dim + axis] = chunk[(row - i * height) * width + (column % width)]));
    });
    return values;
  }

  async vectors(key, dim) {
    return (await this.rows(`obsm/${key}`, this.shown[dim].columns)).map((value) => value * this.scales[dim]);
  }

  cellNames() {
    return this.labels("obs/_index");
  }

  /** Both ends of edges, each once. */
  async edges(most) {
    const { store } = this, indptr = await store.whole(`${GRAPH}/indptr`), { shape: [count], chunks: [size] } = store.spec(`${GRAPH}/indices`);
    const step = Math.ceil(count / 2 / most) || 1, from = [], to = [];
    for (let row = 0, at = 0, cells; at < count; at++) {
      if (at % size === 0) cells = await store.chunk(`${GRAPH}/indices`, [at / size]);
      while (Number(indptr[row + 1]) <= at) row++;
      if (at % step === 0 && row < cells[at % size]) from.push(row), to.push(cells[at % size]);
    }
    return [Uint32Array.from(from), Uint32Array.from(to)];
  }

  /** @returns {Promise<Column>} */
  async readGene(id, key) {
    const { at } = this.genes.get(key), codes = this.store.has("X") ? await this.rows("X", [at]) : await this.sparse(at);
    return { id, kind: "gene", key, label: key, codes, ...ranged(codes), top: 0, missing: NaN, categories: [], centroids: {} };
  }

  /** A gene of a sparse matrix. */
  async sparse(at) {
    const indptr = await (this.indptr ??= this.store.whole("X/indptr")), start = Number(indptr[at]), stop = Number(indptr[at + 1]), values = new Float32Array(this.cells);
    check(isCount(start) && start <= stop && stop <= this.store.spec("X/data").shape[0], "X/indptr is damaged.");
    const [data, cells] = await Promise.all([this.store.slice("X/data", start, stop), this.store.slice("X/indices", start, stop)]);
    for (let i = 0; i < data.length; i++) values[cells[i]] = data[i];
    return values;
  }

  /** @returns {Promise<Column>} */
  async readField(id, key) {
    const { store } = this, path = `obs/${key}`, field = this.fields.get(key), nullable = store.kind(path)?.startsWith("nullable");
    const values = await store.whole(store.kind(path) === "categorical" ? `${path}/codes` : nullable ? `${path}/values` : path);
    const mask = nullable ? await store.whole(`${path}/mask`) : null;
    check(values.length === this.cells, `${METADATA} is damaged: ${path} is of another number of cells.`);
    if (field.kind === "number") {
      const codes = new Float32Array(this.cells);
      values.forEach((/** @type {any} */ value, i) => (codes[i] = mask?.[i] ? NaN : Number(value)));
      return { id, ...field, label: key, codes, ...ranged(codes), top: 0 };
    }
    const categories = store.kind(path) === "categorical" ? Array.from(await store.whole(`${path}/categories`), String) : ["False", "True"];
    const missing = categories.length < 255 ? 255 : 65535;
    const codes = new (missing === 255 ? Uint8Array : Uint16Array)(this.cells);
    values.forEach((/** @type {any} */ value, i) => (codes[i] = mask?.[i] || value < 0 || value >= categories.length ? missing : Number(value)));
    const centroids = {};
    for (const dim of this.dims) centroids[dim] = middles(codes, categories, await this.placed(dim), dim);
    return { id, ...field, label: key, codes, categories, min: 0, max: 0, missing, top: 0, centroids };
  }
}

/** Where the names of categories go: the mean of the cells of each. */
function middles(codes, categories, points, dim) {
  const found = categories.map((category) => ({ category, position: new Array(dim).fill(0), n_points: 0 }));
  codes.forEach((code, cell) => {
    const one = found[code];
    if (one) one.n_points++;
    one?.position.forEach((mean, axis) => (one.position[axis] += (points[cell * dim + axis] - mean) / one.n_points));
  });
  return found.filter(({ n_points }) => n_points >= 10);
}

/** Move the middle of the coordinates' box to 0, its longest side to -1 and 1; returns the scale. */
function center(points, dim) {
  const low = new Array(dim).fill(Infinity), high = new Array(dim).fill(-Infinity);
  points.forEach((at, i) => {
    low[i % dim] = Math.min(low[i % dim], at);
    high[i % dim] = Math.max(high[i % dim], at);
  });
  const width = Math.max(...high.map((top, axis) => top - low[axis])), scale = 2 / (width < 1e-8 ? 1 : width);
  points.forEach((at, i) => (points[i] = (at - (low[i % dim] + high[i % dim]) / 2) * scale));
  return scale;
}

/** Which columns of which array are shown, by dimension. @param {Store} store */
async function chosen(store) {
  const width = (key) => (store.has(`obsm/${key}`) ? store.spec(`obsm/${key}`).shape[1] : 0), every = (dim) => Array.from({ length: dim }, (_, i) => i);
  const shown = {};
  for (const dim of [1, 2, 3]) if (width(`X_umap_${dim}d`) === dim) shown[dim] = { key: `X_umap_${dim}d`, columns: every(dim) };
  const found = SHOWN.find((key) => width(key) >= 1 && width(key) <= 3);
  if (!Object.keys(shown).length && found) shown[width(found)] = { key: found, columns: every(width(found)) };
  for (const dim of [1, 2, 3]) {
    const path = `uns/cellucid/defaults/embedding${dim}d`;
    const key = store.has(path) ? await store.text(path) : await store.text(`${path}/key`);
    const columns = store.has(`${path}/columns`) ? Array.from(await store.whole(`${path}/columns`), Number) : every(dim);
    if (isText(key) && columns.length === dim && columns.every((column) => column < width(key))) shown[dim] = { key, columns };
  }
  return shown;
}

/** The vector fields over what is shown. */
function fieldsOver(store, shown) {
  const fields = {}, width = (key) => store.spec(`obsm/${key}`).shape[1];
  for (const [dim, { key: basis }] of Object.entries(shown)) {
    const own = (key) => key.endsWith(basis.replace(/^X_|^/, "_")) && !key.startsWith("X_") && [key, basis].every((one) => width(one) === +dim);
    for (const label of store.names("obsm").filter(own)) fields[label] = { label, files: { [`${dim}d`]: label } };
  }
  return fields;
}

/** @param {string} base the folder's address @param {number} dim the embedding that will be asked for first */
export async function open(base, dim) {
  const { metadata } = (await new Folder(base).json(METADATA)) ?? {};
  check(metadata && typeof metadata === "object", `${METADATA} is damaged.`);
  const about = "uns/cellucid/", folder = new Folder(base), store = new Store(folder, metadata);
  const [n_cells] = store.spec("obs/_index").shape, shown = await chosen(store);
  const n_genes = store.has("X") ? store.spec("X").shape[1] : (store.attributes("X").shape?.[1] ?? 0);
  const [id, name, description, text, source, url] = await Promise.all(["id", "name", "description", "citation/text", "source/name", "source/url"].map((key) => store.text(about + key)));
  const dims = Object.keys(shown).map(Number);
  const identity = {
    id, name, description, source: { name: source, url, citation: text }, cell_ids: "obs/_index",
    stats: { n_cells, n_genes, has_connectivity: store.has(`${GRAPH}/indices`) }, vector_fields: { fields: fieldsOver(store, shown) },
    embeddings: { files: Object.fromEntries(dims.map((d) => [`${d}d`, shown[d].key])), default_dimension: Math.max(...dims) },
  };
  const data = new ZarrExport(base, store, identity, shown);
  dim = data.dims.includes(dim) ? dim : data.dim;
  data.first = { dim, points: data.points(dim) };
  data.first.points.catch(() => {}); // told when it is asked for
  await data.readNames();
  return data;
}
