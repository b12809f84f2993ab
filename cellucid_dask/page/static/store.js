// The arrays of a Zarr store of version 2, whose chunks are zlib streams. Loaded with zarr.js.

import { isCount } from "./export.js";
import { check } from "./fetch.js";

export const METADATA = ".zmetadata";
const WHOLE = 2 ** 28; // bytes of a chunk that may be as long as it likes: text
const READ_AT_ONCE = 6;
const TYPES = new Map(Object.entries({
  "<f4": Float32Array, "<f8": Float64Array, "|i1": Int8Array, "|u1": Uint8Array, "|b1": Uint8Array, "<i2": Int16Array,
  "<u2": Uint16Array, "<i4": Int32Array, "<u4": Uint32Array, "<i8": BigInt64Array, "<u8": BigUint64Array,
}));

/** The arrays of a store, by path. */
export class Store {
  /** @param {import("./fetch.js").Folder} folder @param {any} metadata */
  constructor(folder, metadata) {
    this.folder = folder;
    this.metadata = metadata;
  }

  attributes(path) {
    return this.metadata[`${path}/.zattrs`] ?? {};
  }

  kind(path) {
    return this.attributes(path)["encoding-type"];
  }

  has(path) {
    return `${path}/.zarray` in this.metadata;
  }

  /** The names directly below a group that are arrays. */
  names(group) {
    return Object.keys(this.metadata).map((path) => path.match(/^(.*)\/([^/]+)\/\.zarray$/)).filter((found) => found?.[1] === group).map((found) => found[2]);
  }

  spec(path) {
    const { shape, chunks, dtype, filters, compressor } = this.metadata[`${path}/.zarray`] ?? {};
    const known = Array.isArray(shape) && shape.every(isCount) && Array.isArray(chunks) && chunks.length === shape.length && chunks.every((n) => isCount(n) && n) &&
      (dtype === "|O" || TYPES.has(dtype)) && compressor?.id === "zlib";
    check(known, `${METADATA} is damaged: ${path} is not as this format has it.`);
    return { shape, chunks, dtype, shuffled: (filters ?? []).some(({ id }) => id === "shuffle") };
  }

  /** The values of a chunk. */
  async chunk(path, position) {
    const { chunks, dtype, shuffled } = this.spec(path), Type = TYPES.get(dtype);
    const size = chunks.reduce((all, n) => all * n, 1) * (Type?.BYTES_PER_ELEMENT ?? 0);
    const bytes = await this.folder.inflated(`${path}/${position.join(".") || "0"}`, Type ? size : WHOLE, !Type);
    if (!Type) return texts(bytes);
    return new Type((shuffled ? unshuffled(bytes, Type.BYTES_PER_ELEMENT) : bytes).buffer);
  }

  /** The values `start` to `stop` of a one-dimensional array. */
  async slice(path, start, stop) {
    const { chunks: [size], dtype } = this.spec(path), Type = TYPES.get(dtype) ?? Array;
    const out = new Type(Math.max(stop - start, 0)), numbers = [];
    for (let i = Math.floor(start / size); i * size < stop; i++) numbers.push(i);
    await together(numbers, async (i) => {
      const values = await this.chunk(path, [i]), from = Math.max(start - i * size, 0), to = Math.min(stop - i * size, size);
      for (let at = from; at < to; at++) out[i * size + at - start] = values[at];
    });
    return out;
  }

  /** All values of a one-dimensional array. */
  whole(path) {
    return this.slice(path, 0, this.spec(path).shape[0]);
  }

  text(path) {
    return this.has(path) ? this.chunk(path, []).then(([text]) => text) : Promise.resolve(undefined);
  }
}

/** Do something for each item, some at a time. */
export async function together(items, work) {
  const left = [...items];
  const worker = async () => {
    while (left.length) await work(left.shift());
  };
  await Promise.all(Array.from({ length: Math.min(READ_AT_ONCE, left.length) }, worker));
}

/** Texts as numcodecs writes them: how many, then the length and the bytes of each. */
function texts(bytes) {
  const view = new DataView(bytes.buffer), count = view.getUint32(0, true), decoder = new TextDecoder(), found = [];
  for (let at = 4; found.length < count; ) {
    const length = view.getUint32(at, true);
    found.push(decoder.decode(bytes.subarray(at + 4, at + 4 + length)));
    at += 4 + length;
  }
  return found;
}

function unshuffled(bytes, width) {
  const count = bytes.length / width, out = new Uint8Array(bytes.length);
  for (let byte = 0; byte < width; byte++) for (let i = 0; i < count; i++) out[i * width + byte] = bytes[byte * count + i];
  return out;
}
