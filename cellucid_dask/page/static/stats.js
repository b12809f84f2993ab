// Asking the worker, which counts over cells so that the page does not wait. It is sent every column once.
// Questions and answers: worker.js.

/** @typedef {import("./export.js").Column} Column */

export class Stats {
  constructor() {
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    /** @type {Map<number, {done: (answer: any) => void, failed: (error: Error) => void}>} */ this.open = new Map();
    /** @type {string[]} columns that the worker has, the latest last */ this.sent = [];
    this.next = 0;
    this.worker.onmessage = ({ data: { id, answer, error } }) => {
      const { done, failed } = this.open.get(id) ?? {};
      this.open.delete(id);
      if (error) failed?.(new Error(error));
      else done?.(answer);
    };
    this.worker.onerror = () => {
      for (const { failed } of this.open.values()) failed(new Error("The worker that counts did not start."));
    };
  }

  /**
   * @param {string} ask what: a function of worker.js
   * @param {object} about its argument; a Column in it is put in by its id
   * @param {Transferable[]} transfer
   * @returns {Promise<any>}
   */
  ask(ask, about = {}, transfer = []) {
    const plain = Object.fromEntries(Object.entries(about).map(([name, part]) => [name, this.give(part)]));
    const id = this.next++;
    this.worker.postMessage({ id, ask, about: plain }, transfer);
    return new Promise((done, failed) => this.open.set(id, { done, failed }));
  }

  /** @param {any} part @returns {any} */
  give(part) {
    if (Array.isArray(part)) return part.map((one) => this.give(one));
    if (!part?.codes) return part;
    const at = this.sent.indexOf(part.id);
    if (at >= 0) this.sent.splice(at, 1);
    else {
      const { id, codes, min, max, top, missing, categories } = part;
      this.worker.postMessage({ ask: "column", about: { id, codes, min, max, top, missing, categories: categories.length } });
    }
    this.sent.push(part.id);
    // The worker keeps some columns only; those of one question are never more.
    if (this.sent.length > 6) this.worker.postMessage({ ask: "forget", about: { id: this.sent.shift() } });
    return part.id;
  }
}
