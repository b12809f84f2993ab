// Reading files of an export: only inside its folder, never more bytes than announced, and in plain
// words when something is wrong. Knows nothing of the page: the worker uses it too.

/** Something to tell the reader in one sentence. */
export class Problem extends Error {}

/** @param {unknown} condition @param {string} sentence @returns {asserts condition} */
export function check(condition, sentence) {
  if (!condition) throw new Problem(sentence);
}

const JSON_LIMIT = 128 * 2 ** 20;
const WHY = { 403: "is missing, or not public", 404: "is missing" };

/** A folder of files, by its address. */
export class Folder {
  /** @param {string} base ends in "/" @param {string} token tells one export from the next at the same address */
  constructor(base, token = "") {
    this.base = base;
    this.token = token;
  }

  /** The address of a file or subfolder: what a manifest names must lie inside. @param {string} path */
  url(path) {
    let url;
    try {
      url = new URL(path, this.base);
    } catch {
      throw new Problem(`“${path}” is no path of a file.`);
    }
    check(url.href.startsWith(this.base) && !url.search && !url.hash, `“${path}” leads out of this export: not read.`);
    return url;
  }

  /** @param {string} path @returns {Promise<any>} */
  async json(path) {
    // Documents are small and say what else to fetch: always ask whether they are still the same.
    const bytes = join(await collect(await this.open(this.url(path), path, "no-cache"), JSON_LIMIT, path));
    try {
      return JSON.parse(new TextDecoder().decode(bytes));
    } catch {
      throw new Problem(`${path} is not valid JSON${/\bNaN\b/.test(new TextDecoder().decode(bytes)) ? " (it holds NaN)" : ""}.`);
    }
  }

  /**
   * Numbers of a binary file, or every `step`-th group of `width` of them.
   * @template {Uint8Array | Uint16Array | Uint32Array | Float32Array} T
   * @param {string} path
   * @param {{new (buffer: ArrayBuffer): T, BYTES_PER_ELEMENT: number}} Type
   * @param {number} count numbers in the file
   * @returns {Promise<T>}
   */
  async array(path, Type, count, width = 1, step = 1) {
    const url = this.url(path);
    if (this.token) url.searchParams.set("v", this.token);
    const expected = count * Type.BYTES_PER_ELEMENT;
    const stream = await this.open(url, path, "default");
    const chunks = await collect(stream, expected, path, width * Type.BYTES_PER_ELEMENT, step);
    const bytes = join(chunks);
    const kept = Math.ceil(count / width / step) * width * Type.BYTES_PER_ELEMENT;
    check(bytes.length === kept, `${path} is damaged: it is shorter than it should be.`);
    return new Type(bytes.buffer);
  }

  /** @param {URL} url @param {string} path @param {RequestCache} cache */
  async open(url, path, cache) {
    let response;
    try {
      response = await fetch(url, { cache });
    } catch {
      throw new Problem(`${path} could not be fetched: the server does not answer.`);
    }
    const why = WHY[/** @type {403} */ (response.status)] ?? `could not be fetched (status ${response.status})`;
    check(response.ok && response.body, `${path} ${why}.`);
    return plain(/** @type {ReadableStream<Uint8Array>} */ (response.body));
  }
}

/** Inflate what is gzip. Some servers inflate .gz files by themselves: so the bytes tell, not the name.
 * @param {ReadableStream<Uint8Array>} stream */
async function plain(stream) {
  const reader = stream.getReader();
  const first = await reader.read();
  const again = new ReadableStream({
    start: (to) => (first.done ? to.close() : to.enqueue(first.value)),
    async pull(to) {
      const { done, value } = await reader.read();
      if (done) to.close();
      else to.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  const gzip = first.value?.[0] === 0x1f && first.value[1] === 0x8b;
  return gzip ? again.pipeThrough(new DecompressionStream("gzip")) : again;
}

/** Chunks of a stream, which is stopped at a limit; or every `step`-th record of `size` bytes of them.
 * @param {ReadableStream<Uint8Array>} stream @param {number} limit @param {string} path */
async function collect(stream, limit, path, size = 1, step = 1) {
  const reader = stream.getReader();
  const chunks = [];
  let length = 0;
  for (;;) {
    let chunk;
    try {
      chunk = (await reader.read()).value;
    } catch {
      throw new Problem(`${path} is damaged: it cannot be read to its end.`);
    }
    if (!chunk) return chunks;
    chunks.push(step > 1 ? sample(chunk, length, size, step) : chunk);
    length += chunk.length;
    if (length > limit) {
      reader.cancel().catch(() => {});
      throw new Problem(`${path} is damaged: it is longer than it should be.`);
    }
  }
}

/** The bytes of every `step`-th record in a chunk that begins at byte `offset`.
 * @param {Uint8Array} chunk @param {number} offset @param {number} size @param {number} step */
function sample(chunk, offset, size, step) {
  const out = new Uint8Array(chunk.length);
  const stride = size * step;
  let length = 0;
  for (let at = Math.floor(offset / stride) * stride - offset; at < chunk.length; at += stride) {
    const part = chunk.subarray(Math.max(at, 0), Math.max(at + size, 0));
    out.set(part, length);
    length += part.length;
  }
  return out.slice(0, length);
}

/** @param {Uint8Array[]} chunks */
function join(chunks) {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
