// The color bar: histogram of the values that are shown, and two handles that clip the colors.

import { MAP_NAMES, css, ramp } from "./colors.js";
import { button, el, make, number, short } from "./dom.js";

const STEPS = 1000; // of a handle

/** Draw it: one bin of the histogram beside another over the map's colors.
 * @param {CanvasRenderingContext2D} ctx @param {Shown} shown */
export function paintBar(ctx, { summary: { min, max, bins }, range }, map, x, y, width, height) {
  const colors = ramp(map), strip = height / 8;
  // Zeros are most of a gene's values: their bar is cut, and roots let rare values be seen beside others.
  const top = Math.sqrt(1.3 * (bins.toSorted()[254] || Math.max(1, ...bins)));
  for (let bin = 0; bin < 256; bin++) {
    const value = min + ((bin + 0.5) / 256) * (max - min);
    const at = Math.round(Math.min(1, Math.max(0, (value - range[0]) / (range[1] - range[0]))) * 255) * 4;
    const left = x + (bin / 256) * width, tall = bins[bin] && Math.max(strip / 8, Math.min(1, Math.sqrt(bins[bin]) / top) * (height - strip * 1.4));
    ctx.fillStyle = css(colors.subarray(at, at + 3));
    ctx.fillRect(left, y + height - strip, width / 256 + 0.5, strip);
    ctx.fillRect(left, y + height - strip * 1.3 - tall, (width / 256) * 1.5, tall);
  }
}

/** @param {App} app */
export function create({ view, state }) {
  const box = el("bar");
  const title = make("h2"), note = make("p"), ends = [make("span"), make("span")];
  const back = button("×", "Color by categories", () => view.choose("obs", view.shown.group.key));
  const canvas = make("canvas", { width: 512, height: 128, ariaHidden: "true" });
  const handles = ["Lowest", "Highest"].map((name, i) =>
    make("input", { type: "range", min: 0, max: STEPS, ariaLabel: `${name} value of the colors`, oninput: () => clip(i) }));
  const reset = button("Reset", "Colors from the 1st to the 99th percentile of what is not zero", () => state.set({ clip: "" }));
  const map = make("select", { ariaLabel: "Color map", onchange: () => state.set({ map: map.value }) },
    ...MAP_NAMES.map((name) => make("option", { textContent: name })));
  box.append(make("header", {}, title, back), make("div", { className: "plot" }, canvas, ...handles),
    make("div", { className: "ends" }, ends[0], map, reset, ends[1]), note);

  /** @param {number} i the handle that moved: never past the other */
  function clip(i) {
    const { min, max } = view.shown.summary, other = Number(handles[1 - i].value);
    const at = i ? Math.max(handles[i].value, other + 1) : Math.min(handles[i].value, other - 1);
    handles[i].value = at;
    const range = handles.map((handle) => +(min + (handle.value / STEPS) * (max - min)).toPrecision(5));
    state.set({ clip: range.join() });
  }

  async function update() {
    const { color, summary, range, group } = view.shown;
    box.hidden = !color;
    if (!color) return;
    const { min, max, missing } = summary;
    title.textContent = color.label;
    back.hidden = !group;
    map.value = state.view.map;
    reset.hidden = !state.view.clip;
    note.textContent = missing ? `${number(missing)} cells without a value` : "";
    range.forEach((value, i) => {
      if (document.activeElement !== handles[i]) handles[i].value = String(((value - min) / (max - min || 1)) * STEPS);
      handles[i].ariaValueText = ends[i].textContent = short(value);
    });
    const ctx = canvas.getContext("2d");
    ctx.clearRect(0, 0, canvas.width, canvas.height);
    paintBar(ctx, view.shown, state.view.map, 0, 0, canvas.width, canvas.height);
  }

  return { update };
}
