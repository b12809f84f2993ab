// Asking the worker, which counts over cells so that the page does not wait. It is sent a column once.

const KEPT = 6; // columns that the worker keeps; a question is about fewer

export class Stats {
  open = new Map();
  sent = []; // columns that the worker has, the latest last
  next = 0;

  constructor() {
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data: { id, answer, error } }) => {
      const { done, failed } = this.open.get(id);
      this.open.delete(id);
      if (error) failed(new Error(error));
      else done(answer);
    };
    this.worker.onerror = () => {
      for (const { failed } of this.open.values()) failed(new Error("the part that counts did not start."));
    };
  }

  /** @param {string} ask a function of worker.js @param {object} about its argument; a Column in it goes as its id
   * @param {Transferable[]} transfer @returns {Promise<any>} */
  ask(ask, about, transfer = []) {
    const plain = Object.fromEntries(Object.entries(about).map(([name, part]) => [name, part?.codes ? this.give(part) : part]));
    const id = this.next++;
    this.worker.postMessage({ id, ask, about: plain }, transfer);
    return new Promise((done, failed) => this.open.set(id, { done, failed }));
  }

  give({ id, codes, min, max, top, missing, categories }) {
    const at = this.sent.indexOf(id);
    if (at < 0) this.worker.postMessage({ ask: "column", about: { id, codes, min, max, top, missing, categories: categories.length } });
    else this.sent.splice(at, 1);
    this.sent.push(id);
    if (this.sent.length > KEPT) this.worker.postMessage({ ask: "forget", about: { id: this.sent.shift() } });
    return id;
  }
}
