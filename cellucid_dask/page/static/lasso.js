// Selecting cells by a line around them, or by keyboard with a rectangle. What is selected follows from
// the shapes in the address: each is drawn on the cells as some camera sees them, so that a link selects the same.

import { Camera } from "./camera.js";
import { css, theme } from "./colors.js";
import { el } from "./dom.js";
import { spot } from "./pointer.js";

/** The shape that an address has, as its camera sees it on a square screen. It is a list of numbers: whether it adds, dimensions, the camera's x, y, yaw and pitch, and the corners. */
function shape(text) {
  const [adds, dim, x, y, yaw, pitch, ...corners] = text.split("_").map(Number);
  if (corners.length < 6 || corners.length % 2 || corners.length > 2000 || ![x, y, yaw, pitch, ...corners].every(Number.isFinite)) return null;
  const camera = Object.assign(new Camera(), { dim, x, y, yaw, pitch }), scale = camera.scale(1, 1);
  const places = corners.map((one, i) => one * scale[i % 2]), polygon = [];
  while (places.length) polygon.push(places.splice(0, 2));
  return { adds: Number(adds > 0), dim, matrix: camera.matrix(1, 1), polygon };
}

/** Fewer corners, nowhere more than `most` away from the line: Douglas and Peucker. @param {number[][]} line @returns {number[][]} */
function fewer(line, most) {
  const [a, b] = [line[0], line[line.length - 1]], [dx, dy] = [b[0] - a[0], b[1] - a[1]], length = Math.hypot(dx, dy);
  const away = line.map(([x, y]) => (length ? Math.abs((x - a[0]) * dy - (y - a[1]) * dx) / length : Math.hypot(x - a[0], y - a[1])));
  const far = away.indexOf(Math.max(...away));
  return away[far] <= most ? [a, b] : [...fewer(line.slice(0, far + 1), most).slice(0, -1), ...fewer(line.slice(far), most)];
}

/** @param {App} app */
export function create(app, opener) {
  const { data, state, view, picture, camera, stats, say } = app, stage = el("stage");
  let line = /** @type {number[][]} */ ([]), box = /** @type {number[]} */ (null); // being drawn
  let from = /** @type {any} */ (null), known = "";

  function arm(on) {
    app.tool = on ? { down, move, up } : null;
    opener.ariaPressed = String(on);
    stage.classList.toggle("drawing", on);
    drop();
    if (!on) return;
    state.set({ panel: "select" });
    say("Draw around cells; Shift adds, Alt takes away. By keyboard: arrows move a rectangle, Shift and arrows size it, Enter selects.");
    picture.canvas.focus();
  }

  function drop() {
    line = [];
    box = from = null;
    app.relabel();
  }

  function down(event) {
    drop();
    from = { ...spot(app, event), clientX: event.clientX, clientY: event.clientY };
    line = [[from.x, from.y]];
  }

  function move(event) {
    if (!from) return;
    const to = [from.x + (2 * (event.clientX - from.clientX)) / from.width, from.y - (2 * (event.clientY - from.clientY)) / from.height];
    const [x, y] = line[line.length - 1];
    if (Math.hypot((to[0] - x) * from.width, (to[1] - y) * from.height) < 4) return;
    line.push(to);
    app.relabel();
  }

  function up(event) {
    if (line.length > 2 && event.type === "pointerup") take(fewer(line, 2 / from.width), event, from);
    drop();
  }

  /** @param {number[][]} polygon on the screen @param {{shiftKey: boolean, altKey: boolean}} keys */
  function take(polygon, keys, { width, height }) {
    const how = keys.shiftKey ? "add" : keys.altKey ? "cut" : app.selecting;
    const { dim, x, y, yaw, pitch, zoom } = camera, [sx, sy] = camera.scale(width, height);
    // In one and two dimensions the corners are places of the data, seen from its middle.
    const [from, off] = dim === 3 ? [[x, y, yaw, pitch], [0, 0]] : [[0, 0, 0, 0], [x, y]];
    const corners = polygon.flatMap(([px, py]) => [px / sx + off[0], py / sy + off[1]]), digits = 3 + Math.max(0, Math.ceil(Math.log10(zoom)));
    const text = [Number(how !== "cut"), dim, ...from, ...corners].map((one) => +one.toFixed(digits)).join("_");
    state.set({ lasso: [...(how === "new" ? [] : state.view.lasso), text], panel: "select" });
  }

  const corners = (/** @type {number[]} */ [x, y, w, h]) => [[x - w, y - h], [x + w, y - h], [x + w, y + h], [x - w, y + h]];

  // Before the picture's own keys: while the tool has the pointer, arrows are for the rectangle.
  stage.addEventListener("keydown", (event) => {
    if (!app.tool || event.target !== picture.canvas || event.ctrlKey || event.metaKey) return;
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
    if (event.key === "Enter" && box) {
      take(corners(box), event, spot(app, { clientX: 0, clientY: 0 }));
      drop();
    } else if (dx || dy) {
      box ??= [0, 0, 0.25, 0.25];
      const at = event.shiftKey ? 2 : 0;
      [dx, dy].forEach((step, i) => (box[at + i] = Math.max(at ? 0.02 : -1, Math.min(1, box[at + i] + step * 0.05))));
      app.relabel();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }, true);

  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || /** @type {Element} */ (event.target).closest("dialog, #search")) return;
    if (line.length || box) drop();
    else if (state.view.lasso.length) state.set({ lasso: [] });
    else if (app.tool) arm(false);
  });

  app.layers.push((ctx, width, height, ratio) => {
    const path = box ? corners(box) : line;
    if (!path.length) return;
    ctx.beginPath();
    for (const [x, y] of path) ctx.lineTo(((x + 1) / 2) * width, ((1 - y) / 2) * height);
    ctx.closePath();
    ctx.lineWidth = 1.5 * ratio;
    ctx.setLineDash([5 * ratio, 3 * ratio]);
    ctx.strokeStyle = ctx.fillStyle = css(theme().ink);
    ctx.stroke();
    ctx.globalAlpha = 0.08;
    ctx.fill();
  });

  async function update() {
    const asked = state.view.lasso.join("\t");
    if (asked === known) return;
    const shapes = state.view.lasso.map(shape), good = shapes.filter((one) => data.dims.includes(one?.dim));
    if (good.length < shapes.length) say("A part of the selection in this address cannot be read.");
    const other = async (dim) => (dim === view.shown.dim ? {} : { points: await data.points(dim) });
    const about = await Promise.all(good.map(async (one) => ({ ...one, ...(await other(one.dim)) })));
    const mask = await stats.ask("select", { shapes: about });
    if (asked !== state.view.lasso.join("\t")) return;
    known = asked;
    picture.setMask(mask);
  }

  return { press: () => arm(!app.tool), update };
}
