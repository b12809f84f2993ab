// Mouse, touch and keys on the picture: drag moves (or turns, in 3D), wheel and pinch zoom.

import { el } from "./dom.js";

const TURN = 0.008; // radians a pixel

/** Where on the picture: which panel, the place in it from -1 to 1 (up is more), its size in the page's pixels.
 * @param {App} app @param {{clientX: number, clientY: number}} event */
export function spot({ picture }, event) {
  const frame = picture.canvas.getBoundingClientRect(), boxes = picture.layout();
  const x = (event.clientX - frame.left) / frame.width, y = (event.clientY - frame.top) / frame.height;
  const panel = Math.max(0, boxes.findIndex((box) => x >= box.x && x < box.x + box.w && y >= box.y && y < box.y + box.h));
  const box = boxes[panel] ?? { x: 0, y: 0, w: 1, h: 1 };
  return { panel, x: ((x - box.x) / box.w) * 2 - 1, y: 1 - ((y - box.y) / box.h) * 2, width: frame.width * box.w, height: frame.height * box.h };
}

/** @param {App} app */
export function pointer(app) {
  const { camera, moved } = app, canvas = el("cells");
  /** @type {Map<number, PointerEvent>} fingers and mice that are down */
  const down = new Map();

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, event);
    if (down.size === 1) app.tool?.down(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (!before) return;
    down.set(event.pointerId, event);
    if (app.tool && down.size === 1) return app.tool.move(event);
    const { width, height } = spot(app, event);
    const dx = (event.clientX - before.clientX) / down.size, dy = (event.clientY - before.clientY) / down.size;
    const other = [...down.values()].find((one) => one !== event);
    if (other) {
      const span = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
      const { x, y } = spot(app, other);
      camera.zoomBy(span(event) / span(before), x, y, width, height);
    }
    if (camera.dim === 3 && !other && !event.shiftKey && !(event.buttons & 6)) camera.orbit(dx * TURN, dy * TURN);
    else camera.pan((dx / width) * 2, (-dy / height) * 2, width, height);
    moved();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => {
      if (down.delete(event.pointerId)) app.tool?.up(event);
    });
  }
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", () => {
    camera.fit();
    moved();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const { x, y, width, height } = spot(app, event), by = event.deltaY * (event.deltaMode ? 20 : 1);
    camera.zoomBy(Math.exp(-0.003 * Math.max(-120, Math.min(120, by))), x, y, width, height);
    moved();
  }, { passive: false });

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { width, height } = spot(app, { clientX: 0, clientY: 0 });
    const [dx, dy] = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    const zoom = { "+": 1.25, "=": 1.25, "-": 0.8 }[event.key];
    if (zoom) camera.zoomBy(zoom, 0, 0, width, height);
    else if (event.key === "0") camera.fit();
    else if (!dx && !dy) return;
    else if (camera.dim === 3 && event.shiftKey) camera.orbit(dx * 0.1, -dy * 0.1);
    else camera.pan(dx * 0.15, dy * 0.15, width, height);
    event.preventDefault();
    moved();
  });
}
