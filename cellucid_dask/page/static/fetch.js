// Reading files of an export: only inside its folder, never more bytes than announced, and in plain
// words when something is wrong. Knows nothing of the page.

/** Something to tell the reader in one sentence. */
export class Problem extends Error {}

/** @param {unknown} condition @param {string} sentence @returns {asserts condition} */
export function check(condition, sentence) {
  if (!condition) throw new Problem(sentence);
}

const JSON_LIMIT = 128 * 2 ** 20;

/** A folder of files, by its address, which ends in "/"; the token tells one export from the next there. */
export class Folder {
  constructor(base, token = "") {
    this.base = base;
    this.token = token;
  }

  /** The address of a file or subfolder: what a manifest names must lie inside. */
  url(path) {
    // "%2f" in a name is three characters, which neither a server nor a browser may take for "/".
    const url = /^[a-z]+:|^\/|\\/i.test(path) ? null : new URL(path.split("/").map(encodeURIComponent).join("/"), this.base);
    check(url?.href.startsWith(this.base), `“${path}” leads out of this export: not read.`);
    return url;
  }

  async json(path) {
    // Documents say what else to fetch: always ask whether they are still the same.
    const bytes = await collect(await open(this.url(path), path, "no-cache"), JSON_LIMIT, path, undefined, true);
    const text = new TextDecoder().decode(bytes);
    try {
      return JSON.parse(text);
    } catch {
      throw new Problem(`${path} is not valid JSON${/[:,[]\s*-?(NaN|Infinity)/.test(text) ? ": it holds NaN or Infinity" : ""}.`);
    }
  }

  /** The numbers of a binary file. @template T
   * @param {string} path @param {{new (buffer: ArrayBufferLike): T, BYTES_PER_ELEMENT: number}} Type @param {number} count
   * @param {(chunk: Uint8Array, offset: number) => Uint8Array} keep what is kept of each part of its bytes */
  async array(path, Type, count, keep = undefined) {
    const url = this.url(path), size = count * Type.BYTES_PER_ELEMENT;
    if (this.token) url.searchParams.set("v", this.token);
    const bytes = await collect(await open(url, path, "default"), size, path, keep);
    return new Type(bytes.buffer);
  }

  /** The bytes of a file that is a zlib stream; of text no more than `size` of them. */
  async inflated(path, size, text = false) {
    const stream = await open(this.url(path), path, "default");
    /** @type {any} */ const inflate = new DecompressionStream("deflate");
    return collect(stream.pipeThrough(inflate), size, path, undefined, text);
  }
}

/** The bytes of a file, inflated. @param {RequestCache} cache @returns {Promise<ReadableStream<Uint8Array>>} */
async function open(url, path, cache) {
  const response = await fetch(url, { cache }).catch(() => null);
  check(response, `${path} could not be fetched: the server does not answer.`);
  const why = { 403: "is missing, or not public", 404: "is missing" }[response.status];
  check(response.ok, `${path} ${why ?? `could not be fetched (status ${response.status})`}.`);
  const reader = response.body.getReader();
  const first = await reader.read().catch(() => ({ value: undefined }));
  const bytes = new ReadableStream({
    start: (to) => first.value && to.enqueue(first.value),
    async pull(to) {
      const { done, value } = await reader.read();
      if (done) to.close();
      else to.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  // Some servers inflate .gz files by themselves: so the bytes tell, not the name.
  const gzip = path.endsWith(".gz") && first.value?.[0] === 0x1f && first.value[1] === 0x8b;
  return gzip ? bytes.pipeThrough(new DecompressionStream("gzip")) : bytes;
}

/** The bytes of a stream, `size` of them, or of text no more than that. */
async function collect(stream, size, path, keep = /** @type {(...part: any) => Uint8Array} */ ((chunk) => chunk), text = false) {
  const reader = stream.getReader(), chunks = [];
  let length = 0, kept = 0;
  for (;;) {
    const { value: chunk } = await reader.read().catch(() => check(false, `${path} is damaged: it cannot be read to its end.`));
    if (!chunk) break;
    if (length + chunk.length > size) {
      reader.cancel().catch(() => {});
      check(false, `${path} is damaged: it is longer than it should be.`);
    }
    kept += chunks[chunks.push(keep(chunk, length)) - 1].length;
    length += chunk.length;
  }
  check(text || length === size, `${path} is damaged: it is shorter than it should be.`);
  const bytes = new Uint8Array(kept);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
