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

  /** The address of a file or subfolder: what a manifest names must lie inside. @param {string} path */
  url(path) {
    // "%2f" in a name is three characters, which neither a server nor a browser may take for "/".
    const url = /^[a-z]+:|^\/|\\/i.test(path) ? null : new URL(path.split("/").map(encodeURIComponent).join("/"), this.base);
    check(url?.href.startsWith(this.base), `“${path}” leads out of this export: not read.`);
    return url;
  }

  /** @param {string} path @returns {Promise<any>} */
  async json(path) {
    // Documents say what else to fetch: always ask whether they are still the same.
    const bytes = await collect(await open(this.url(path), path, "no-cache"), JSON_LIMIT, path);
    const text = new TextDecoder().decode(bytes);
    try {
      return JSON.parse(text);
    } catch {
      throw new Problem(`${path} is not valid JSON${/[:,[]\s*-?(NaN|Infinity)/.test(text) ? ": it holds NaN or Infinity" : ""}.`);
    }
  }

  /** All numbers of a binary file, or every `step`-th.
   * @template T
   * @param {string} path @param {{new (buffer: ArrayBufferLike): T, BYTES_PER_ELEMENT: number}} Type
   * @param {number} count of numbers in the file */
  async array(path, Type, count, step = 1) {
    const url = this.url(path);
    if (this.token) url.searchParams.set("v", this.token);
    const size = Type.BYTES_PER_ELEMENT;
    const bytes = await collect(await open(url, path, "default"), count * size, path, size, step);
    check(bytes.length === Math.ceil(count / step) * size, `${path} is damaged: it is shorter than it should be.`);
    return new Type(bytes.buffer);
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

/** The bytes of a stream, or every `step`-th record of `size` of them; it is stopped at a limit. */
async function collect(stream, limit, path, size = 1, step = 1) {
  const reader = stream.getReader();
  const chunks = [];
  let length = 0, kept = 0;
  for (;;) {
    const { value: chunk } = await reader.read().catch(() => check(false, `${path} is damaged: it cannot be read to its end.`));
    if (!chunk) break;
    if (length + chunk.length > limit) {
      reader.cancel().catch(() => {});
      check(false, `${path} is damaged: it is longer than it should be.`);
    }
    chunks.push(step > 1 ? sample(chunk, length, size, size * step) : chunk);
    kept += chunks[chunks.length - 1].length;
    length += chunk.length;
  }
  check(!limit || step === 1 || length === limit, `${path} is damaged: it is shorter than it should be.`);
  const bytes = new Uint8Array(kept);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** Of a chunk that begins at byte `offset`, the bytes of records of `size` that are `stride` apart. */
function sample(chunk, offset, size, stride) {
  const out = new Uint8Array(chunk.length);
  let length = 0;
  for (let at = -(offset % stride); at < chunk.length; at += stride) {
    const part = chunk.subarray(Math.max(at, 0), Math.max(at + size, 0));
    out.set(part, length);
    length += part.length;
  }
  return out.slice(0, length);
}
