// The colour bar: histogram of the values that are shown, and two handles that clip the colours.

import { el, make, number, short } from "./dom.js";
import { MAP_NAMES, css, ramp } from "./colours.js";

const STEPS = 1000; // of a handle

/** @param {import("./main.js").App} app */
export function bar({ view, state, picture }) {
  const box = el("bar");
  const title = make("h2"), note = make("p");
  const back = make("button", { type: "button", textContent: "×", ariaLabel: "Colour by categories", title: "Colour by categories",
    onclick: () => view.choose("obs", view.shown.group.key) });
  const canvas = make("canvas", { width: 512, height: 128, ariaHidden: "true" });
  const handles = ["Lowest", "Highest"].map((name, i) =>
    make("input", { type: "range", min: 0, max: STEPS, step: 1, ariaLabel: `${name} value of the colours`, oninput: () => clip(i) }));
  const ends = [make("span"), make("span")];
  const reset = make("button", { type: "button", textContent: "Reset", title: "Colours from the 1st to the 99th percentile of what is not zero", onclick: () => state.set({ clip: "" }) });
  const map = make("select", { ariaLabel: "Colour map", onchange: () => state.set({ map: map.value }) },
    ...MAP_NAMES.map((name) => make("option", { textContent: name })));
  box.append(make("header", {}, title, back), make("div", { className: "plot" }, canvas, ...handles),
    make("div", { className: "ends" }, ends[0], reset, map, ends[1]), note);

  /** @param {number} i the handle that moved */
  function clip(i) {
    const { min, max } = view.shown.summary;
    const range = handles.map((handle) => min + (handle.value / STEPS) * (max - min));
    if (range[0] >= range[1]) {
      handles[i].value = Number(handles[1 - i].value) + (i ? 1 : -1);
      range[i] = min + (handles[i].value / STEPS) * (max - min);
    }
    state.set({ clip: range.map((value) => +value.toPrecision(5)).join(",") });
  }

  function draw() {
    const { colour, summary, range } = view.shown;
    box.hidden = !colour;
    if (!colour) return;
    const { min, max, bins, missing } = summary;
    title.textContent = colour.label;
    back.hidden = !view.shown.group;
    map.value = state.view.map;
    reset.hidden = !state.view.clip;
    note.textContent = missing ? `${number(missing)} cells without a value` : "";
    const share = (value) => (max > min ? Math.min(1, Math.max(0, (value - min) / (max - min))) : 0);
    range.forEach((value, i) => {
      if (document.activeElement !== handles[i]) handles[i].value = String(Math.round(share(value) * STEPS));
      handles[i].ariaValueText = ends[i].textContent = short(value);
    });
    paint(canvas, bins, ramp(state.view.map), (bin) => {
      const value = min + ((bin + 0.5) / 256) * (max - min);
      return Math.min(1, Math.max(0, (value - range[0]) / (range[1] - range[0])));
    });
  }

  /** @param {HTMLCanvasElement} canvas @param {Uint32Array} bins @param {Uint8Array} colours @param {(bin: number) => number} place */
  function paint(canvas, bins, colours, place) {
    const ctx = canvas.getContext("2d");
    const { width, height } = canvas;
    ctx.clearRect(0, 0, width, height);
    // Zeros are most of a gene's values: by their square root, others are seen beside them.
    const top = Math.sqrt(bins.reduce((most, count) => Math.max(most, count), 1));
    for (let bin = 0; bin < 256; bin++) {
      const x = (bin / 256) * width, w = width / 256, at = Math.round(place(bin) * 255) * 4;
      ctx.fillStyle = css(colours.subarray(at, at + 3));
      ctx.fillRect(x, height - 16, w + 1, 16);
      const tall = (Math.sqrt(bins[bin]) / top) * (height - 24);
      if (bins[bin]) ctx.fillRect(x, height - 20 - Math.max(tall, 2), w * 1.6, Math.max(tall, 2));
    }
  }

  view.addEventListener("shown", draw);
  void picture;
}
