// Buttons over the picture.

import { el, make } from "./dom.js";

/** @param {import("./main.js").App} app */
export function tools({ data, state, view, camera, picture, moved }) {
  const box = el("tools");
  const button = (text, title, onclick) => make("button", { type: "button", textContent: text, title, ariaLabel: title, onclick });
  const group = (...children) => box.append(make("div", { role: "group" }, ...children));
  const size = () => [picture.canvas.width, picture.canvas.height];
  const zoom = (factor) => () => {
    const [width, height] = size();
    camera.zoomBy(factor, 0, 0, width, height);
    moved();
  };
  const dims = data.dims.map((dim) => button(`${dim}D`, `Embedding in ${dim}D`, () => state.set({ dim, cam: "" })));
  if (dims.length > 1) group(...dims);
  group(button("+", "Zoom in", zoom(1.5)), button("−", "Zoom out", zoom(1 / 1.5)), button("Fit", "Show all cells", () => (camera.fit(), moved())));
  const names = button("Names", "Names of the categories", () => state.set({ labels: !state.view.labels }));
  if (data.fields.size) group(names);
  view.addEventListener("shown", () => {
    data.dims.forEach((dim, i) => (dims[i].ariaPressed = String(dim === view.shown.dim)));
    names.ariaPressed = String(state.view.labels);
  });
}
