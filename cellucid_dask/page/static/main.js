// Ties the page: opens the export, makes the controls, and keeps the picture at what the address says.

import { about } from "./about.js";
import { analysis } from "./analysis.js";
import { bar } from "./bar.js";
import { Camera } from "./camera.js";
import { chooseDataset } from "./datasets.js";
import { el, number } from "./dom.js";
import { Export } from "./export.js";
import { Problem } from "./fetch.js";
import { hover } from "./hover.js";
import { labels } from "./labels.js";
import { lasso } from "./lasso.js";
import { legend } from "./legend.js";
import { overlays } from "./overlays.js";
import { panels } from "./panels.js";
import { Picture } from "./picture.js";
import { pointer } from "./pointer.js";
import { save } from "./save.js";
import { search } from "./search.js";
import { State } from "./state.js";
import { Stats } from "./stats.js";
import { tools } from "./tools.js";
import { View } from "./view.js";

const root = document.documentElement;
let silence = 0;

function say(sentence, seconds = 8) {
  el("notice").textContent = sentence;
  clearTimeout(silence);
  if (seconds) silence = setTimeout(() => (el("notice").textContent = ""), seconds * 1000);
}

/** @param {unknown} error */
function fail(error) {
  const sentence = error instanceof Problem ? error.message : `Something went wrong in this page: ${error}`;
  root.dataset.state = "failed";
  el("message").textContent = sentence;
  if (el("cover").hidden) say(sentence, 0);
}

async function start() {
  if (location.protocol === "file:") return; // start.js says why
  const state = new State();
  const opening = chooseDataset(new URL(".", location.href).href, state, say).then((base) => Export.open(base, state.view.dim));
  opening.catch(() => {}); // told below; meanwhile the graphics card and the worker get ready
  await new Promise((done) => setTimeout(done));
  const camera = new Camera(), picture = new Picture(el("cells"), camera), stats = new Stats();
  const data = await opening;
  document.title = el("name").textContent = data.name;
  el("count").textContent = `${number(data.cells)} cells · ${number(data.genes.size)} genes`;
  const view = new View(data, state, picture, stats, say);
  let resting = 0;
  /** @type {App} */
  const app = { data, state, view, picture, camera, stats, say, fail, moved, layers: [], tool: null, selecting: "new", relabel() {} };

  async function refresh() {
    root.dataset.state = "loading";
    try {
      if (!(await view.update()) || resting) return;
      if (root.dataset.state === "loading") root.dataset.state = "ready";
    } catch (error) {
      fail(error);
    }
    el("cover").hidden = view.shown.dim > 0;
  }

  function moved() {
    root.dataset.state = "loading";
    picture.draw(true);
    app.relabel();
    clearTimeout(resting);
    resting = setTimeout(() => {
      resting = 0;
      state.set({ cam: camera.toString() });
      picture.draw();
      refresh();
    }, 150);
  }

  for (const control of [tools, search, bar, legend, labels, overlays, hover, pointer, panels, lasso, analysis, save, about]) control(app);

  state.addEventListener("change", (/** @type {CustomEvent} */ { detail: changed }) => {
    if (changed.includes("ds")) return location.reload();
    if (changed.includes("cam") && state.view.cam !== camera.toString()) camera.read(state.view.cam);
    refresh();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
  el("cells").addEventListener("webglcontextlost", () => fail(new Problem("The graphics card was reset: load the page again.")));
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
