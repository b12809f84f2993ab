// Ties the page: opens the export, makes the controls, and keeps the picture at what the address says.

import { about } from "./about.js";
import { analysis } from "./analysis.js";
import { bar } from "./bar.js";
import { Camera } from "./camera.js";
import { openData } from "./datasets.js";
import { el, number } from "./dom.js";
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

const ratio = () => Math.min(devicePixelRatio, 2);

/** Give the canvases the size of their place. @returns {boolean} whether that is another */
function fit() {
  const { width, height } = el("stage").getBoundingClientRect();
  const size = { width: Math.round(width * ratio()), height: Math.round(height * ratio()) }, cells = el("cells");
  if (cells.width === size.width && cells.height === size.height) return false;
  for (const canvas of [cells, el("labels")]) Object.assign(canvas, size);
  return true;
}

async function start() {
  if (location.protocol === "file:") return; // start.js says why
  const state = new State();
  const opening = openData(new URL(".", location.href).href, state, say);
  opening.catch(() => {}); // told below; meanwhile the graphics card and the worker get ready
  await new Promise((done) => setTimeout(done));
  fit();
  const camera = new Camera(), picture = new Picture(el("cells"), camera), stats = new Stats();
  const data = await opening;
  document.title = el("name").textContent = data.name;
  el("count").textContent = `${number(data.cells)} cells · ${number(data.genes.size)} genes`;
  const view = new View(data, state, picture, stats, say);
  picture.ratio = ratio();
  let resting = 0;
  /** @type {App} */
  const app = { data, state, view, picture, camera, stats, say, fail, moved, layers: [], tool: null, selecting: "new", relabel() {} };

  async function refresh() {
    if (root.dataset.state === "failed") say("");
    root.dataset.state = "loading";
    try {
      if (!(await view.update()) || resting) return;
      if (root.dataset.state === "loading") root.dataset.state = "ready";
    } catch (error) {
      if (!view.shown.dim && state.view.gene) {
        // The gene that the address names cannot be had: the rest can.
        state.view = { ...state.view, gene: "" };
        await view.update().catch(() => {});
      }
      el("cover").hidden = view.shown.dim > 0;
      return fail(error);
    }
    el("cover").hidden = true;
    if (root.dataset.state === "failed") say(el("message").textContent, 0); // of what lies over the cells
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
  new ResizeObserver(() => {
    if (!fit()) return;
    picture.ratio = ratio();
    picture.draw();
    app.relabel();
  }).observe(el("stage"));
  await refresh();
}

start().catch(fail);
