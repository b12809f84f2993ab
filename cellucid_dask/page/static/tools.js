// Buttons over the picture.

import { button, el, make } from "./dom.js";

/** @param {App} app */
export function tools({ data, state, view, camera, picture, moved }) {
  const group = (...children) => el("tools").append(make("div", { role: "group" }, ...children));
  const zoom = (factor) => () => {
    camera.zoomBy(factor, 0, 0, picture.canvas.width, picture.canvas.height);
    moved();
  };
  const toggle = (text, title, key) => {
    const made = button(text, title, () => state.set({ [key]: !state.view[key] }));
    view.addEventListener("shown", () => (made.ariaPressed = String(state.view[key])));
    return made;
  };

  const dims = data.dims.map((dim) => button(`${dim}D`, `Embedding in ${dim}D`, () => state.set({ dim, cam: "" })));
  view.addEventListener("shown", () => dims.forEach((one, i) => (one.ariaPressed = String(data.dims[i] === view.shown.dim))));
  if (dims.length > 1) group(...dims);
  group(button("+", "Zoom in", zoom(1.5)), button("−", "Zoom out", zoom(1 / 1.5)), button("Fit", "Show all cells", () => (camera.fit(), moved())));

  const size = make("input", { type: "range", min: -2, max: 2, step: 0.25, ariaLabel: "Size of the points", title: "Size of the points", oninput: () => state.set({ size: +(2 ** size.value).toFixed(2) }) });
  view.addEventListener("shown", () => (size.value = String(Math.log2(state.view.size))));
  group(size);

  const over = [];
  if (data.fields.size) over.push(toggle("Names", "Names of the categories", "labels"));
  if (data.identity.stats.has_connectivity) over.push(toggle("Graph", "Neighbor graph", "graph"));
  if (over.length) group(...over);
  const fields = Object.entries(data.identity.vector_fields?.fields ?? {});
  if (!fields.length) return;
  const field = make("select", { ariaLabel: "Vector field", onchange: () => state.set({ field: field.value }) },
    make("option", { value: "", textContent: "No arrows" }), ...fields.map(([id, one]) => make("option", { value: id, textContent: String(one?.label ?? id) })));
  view.addEventListener("shown", () => (field.value = state.view.field));
  group(field);
}
