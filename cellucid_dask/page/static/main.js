// Ties the page: opens the export, makes the controls, and keeps the picture at what the address says.

import { Camera } from "./camera.js";
import { button, el, make, number } from "./dom.js";
import { openData } from "./export.js";
import { Problem } from "./fetch.js";
import { labels } from "./labels.js";
import { legend } from "./legend.js";
import { Picture } from "./picture.js";
import { pointer } from "./pointer.js";
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

/** Modules that are fetched when the address or the reader first asks for them. The `create(app, opener)` of each
 * gives what its opener does (`press`) and what is to be shown with the cells (`update`). @param {App} app */
function others(app) {
  const { view, state, fail } = app, never = () => false;
  /** @param {() => Promise<any>} load @param {(view: typeof import("./state.js").DEFAULTS) => unknown} asked */
  function later(load, asked, /** @type {[string, string] | []} */ ...about) {
    let made = /** @type {Promise<any>} */ (null);
    const get = () => (made ??= load().then(({ create }) => create(app, opener)));
    const press = (...what) => get().then((one) => one.press(...what)).catch(fail);
    const opener = about.length ? button(...about, () => press()) : null;
    if (opener) el("tools").append(opener);
    view.parts.push(async () => void (made || asked(state.view) ? await (await get()).update?.() : 0));
    return press;
  }
  later(() => import("./bar.js"), () => view.shown.color);
  later(() => import("./overlays.js"), ({ graph, field }) => graph || field);
  later(() => import("./panels.js"), (view) => view.with.length, "+ Panel", "Keep these colors in a panel beside; what is chosen next colors the first");
  later(() => import("./lasso.js"), ({ lasso }) => lasso.length, "Select", "Select cells: draw around them, or with the arrow keys");
  later(() => import("./analysis.js"), ({ panel }) => panel, "Compare", "Compare genes across categories");
  const save = later(() => import("./save.js"), never), hover = later(() => import("./hover.js"), never);
  const menu = make("select", { ariaLabel: "Save the picture as PNG", onchange: () => (save(Number(menu.value)), (menu.value = "")) },
    ...["", 1, 2, 4].map((scale) => make("option", { textContent: `PNG ${scale}${scale && "×"}`, value: scale })));
  el("tools").append(menu);
  el("cells").addEventListener("pointermove", hover, { once: true });
  later(() => import("./about.js"), never, "About", "About this data set");
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

  for (const control of [tools, search, legend, labels, pointer, others]) control(app);

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
