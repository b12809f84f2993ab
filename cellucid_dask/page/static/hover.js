// What the cell under the pointer is: found by the worker, one question at a time.

import { el, make, short, valueOf } from "./dom.js";
import { pointSize } from "./pass.js";
import { spot } from "./pointer.js";

/** @param {App} app */
export function create(app) {
  const { view, picture, camera, stats } = app;
  const tip = el("tip"), canvas = picture.canvas;
  let asking = false, next = /** @type {PointerEvent | null} */ (null);

  async function ask(event) {
    next = event;
    if (asking || !view.shown.dim) return;
    asking = true;
    while (next) {
      const now = next;
      next = null;
      const { x, y, width, height } = spot(app, now);
      const reach = pointSize(picture, width * picture.ratio, height * picture.ratio) / picture.ratio + 6;
      const { group, hidden } = view.shown;
      const about = { matrix: camera.matrix(width, height), x, y, radius: [reach / width, reach / height], group, hidden };
      const cell = await stats.ask("pick", about).catch(() => -1);
      if (!next) show(now, cell);
    }
    asking = false;
  }

  function show(event, cell) {
    tip.hidden = cell < 0;
    if (cell < 0) return;
    const { group, color, summary } = view.shown;
    const line = (name, text) => make("div", {}, make("small", { textContent: `${name} ` }), text);
    const lines = [line("cell", String(cell))];
    if (group) lines.push(line(group.key, group.categories[group.codes[cell]] ?? "(none)"));
    if (color) lines.push(line(color.label, short(valueOf(color, cell, summary.min, summary.max))));
    for (const { column, summary } of view.others) {
      lines.push(line(column.label, summary ? short(valueOf(column, cell, summary.min, summary.max)) : column.categories[column.codes[cell]] ?? "(none)"));
    }
    tip.replaceChildren(...lines);
    const frame = canvas.getBoundingClientRect();
    const x = event.clientX - frame.left, y = event.clientY - frame.top;
    tip.style.left = `${Math.min(x + 14, frame.width - tip.offsetWidth - 4)}px`;
    tip.style.top = `${y + 18 + tip.offsetHeight > frame.height ? y - tip.offsetHeight - 8 : y + 18}px`;
  }

  const hide = () => {
    next = null;
    tip.hidden = true;
  };
  canvas.addEventListener("pointermove", (event) => (event.buttons ? hide() : ask(event)));
  for (const event of ["pointerleave", "wheel"]) canvas.addEventListener(event, hide);
  canvas.addEventListener("pointerup", ask);
  return { press: ask };
}
