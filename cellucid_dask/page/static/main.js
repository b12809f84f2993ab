// Ties the page: opens the export, makes the controls, and keeps the picture at what the address says.

import { about } from "./about.js";
import { bar } from "./bar.js";
import { Camera } from "./camera.js";
import { chooseDataset } from "./datasets.js";
import { el, number } from "./dom.js";
import { Export } from "./export.js";
import { Problem } from "./fetch.js";
import { hover } from "./hover.js";
import { legend } from "./legend.js";
import { labels } from "./labels.js";
import { overlays } from "./overlays.js";
import { Picture } from "./picture.js";
import { pointer } from "./pointer.js";
import { search } from "./search.js";
import { State } from "./state.js";
import { Stats } from "./stats.js";
import { tools } from "./tools.js";
import { View } from "./view.js";

/**
 * What every control is given.
 * @typedef {object} App
 * @property {Export} data @property {State} state @property {View} view
 * @property {Picture} picture @property {Camera} camera @property {Stats} stats
 * @property {(sentence: string) => void} say
 * @property {() => void} moved the camera has: draw, and write the address when it rests
 * @property {((ctx: CanvasRenderingContext2D, width: number, height: number, ratio: number) => void)[]} layers
 *   drawn over the cells, once for each panel
 * @property {() => void} relabel draw these anew
 * @property {{down: Function, move: Function, up: Function} | null} tool has the pointer instead of the camera
 */

const root = document.documentElement;

/** @param {string} sentence for a while */
function say(sentence) {
  el("notice").textContent = sentence;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (el("notice").textContent = ""), 8000);
}
/** @type {any} */ say.timer = 0;

/** @param {unknown} error */
function fail(error) {
  const sentence = error instanceof Problem ? error.message : `Something went wrong in this page: ${error}`;
  root.dataset.state = "failed";
  el("message").textContent = sentence;
  if (el("cover").hidden) say(sentence);
}

async function start() {
  if (location.protocol === "file:") return; // start.js says why
  const state = new State();
  const data = await Export.open(await chooseDataset(new URL(".", location.href).href, state));
  document.title = data.name;
  el("name").textContent = data.name;
  el("size").textContent = `${number(data.cells)} cells · ${number(data.genes.size)} genes`;

  const camera = new Camera();
  const picture = new Picture(el("cells"), camera);
  const stats = new Stats();
  const view = new View(data, state, picture, stats, say);
  /** @type {App} */
  const app = { data, state, view, picture, camera, stats, say, layers: [], tool: null, moved, relabel: () => {} };

  async function refresh() {
    root.dataset.state = "loading";
    try {
      if (!(await view.update())) return;
      root.dataset.state = "ready";
      el("cover").hidden = true;
    } catch (error) {
      fail(error);
    }
  }

  let resting = /** @type {any} */ (0);
  function moved() {
    root.dataset.state = "loading";
    picture.draw(true);
    app.relabel();
    clearTimeout(resting);
    resting = setTimeout(() => {
      state.set({ cam: camera.toString() });
      picture.draw();
      refresh();
    }, 150);
  }

  for (const control of [search, bar, legend, labels, overlays, hover, pointer, tools, about]) control(app);

  state.addEventListener("change", (event) => {
    const { detail: changed } = /** @type {CustomEvent<Set<string>>} */ (event);
    if (changed.has("ds")) return location.reload();
    if (changed.has("cam") && state.view.cam !== camera.toString()) camera.read(state.view.cam);
    refresh();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
  el("cells").addEventListener("lost", () => fail(new Problem("The graphics card was reset. Load the page again.")));
  const fit = () => {
    picture.ratio = Math.min(devicePixelRatio, 2);
    const { width, height } = el("stage").getBoundingClientRect();
    for (const canvas of [el("cells"), el("labels")]) {
      canvas.width = Math.round(width * picture.ratio);
      canvas.height = Math.round(height * picture.ratio);
    }
    picture.draw();
    app.relabel();
  };
  new ResizeObserver(fit).observe(el("stage"));
  fit();
  await refresh();
}

start().catch(fail);
