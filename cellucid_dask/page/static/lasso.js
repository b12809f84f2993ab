// Selecting cells by a line around them, or by keyboard with a rectangle. What is selected follows from
// the shapes in the address: each is drawn on the cells as some camera sees them, so that a link selects the same.

import { Camera } from "./camera.js";
import { css, theme } from "./colours.js";
import { button, el } from "./dom.js";
import { spot } from "./pointer.js";

/** @typedef {{adds: number, dim: number, camera: number[], polygon: number[][]}} Shape of 3D with a camera */

/** "in*2**0.1_0.2_…": whether it adds, dimensions, camera, places. @param {Shape} shape */
const format = ({ adds, dim, camera, polygon }, digits) =>
  [adds ? "in" : "out", dim, ...[camera, polygon.flat()].map((list) => list.map((one) => +one.toFixed(digits)).join("_"))].join("*");

/** @param {string} text @returns {Shape | null} */
function parse(text) {
  const [how, dim, ...lists] = text.split("*");
  const [camera, places] = lists.map((list) => (list ? list.split("_").map(Number) : []));
  if (!places || ![...camera, ...places].every(Number.isFinite) || places.length < 6 || places.length > 2000) return null;
  return { adds: Number(how === "in"), dim: Number(dim), camera, polygon: places.flatMap((x, i) => (i % 2 ? [] : [[x, places[i + 1] ?? 0]])) };
}

/** The shape as its camera has it on a square screen. @param {Shape} shape */
function onScreen({ adds, dim, camera: [x = 0, y = 0, yaw = 0, pitch = 0], polygon }) {
  const camera = Object.assign(new Camera(), { dim, x, y, yaw, pitch }), [sx, sy] = camera.scale(1, 1);
  return { adds, dim, matrix: camera.matrix(1, 1), polygon: polygon.map(([u, v]) => [u * sx, v * sy]) };
}

/** Fewer corners, nowhere more than `most` away from the line: Douglas and Peucker. @param {number[][]} line @returns {number[][]} */
function fewer(line, most) {
  const [a, b] = [line[0], line[line.length - 1]], [dx, dy] = [b[0] - a[0], b[1] - a[1]], length = Math.hypot(dx, dy);
  const away = line.map(([x, y]) => (length ? Math.abs((x - a[0]) * dy - (y - a[1]) * dx) / length : Math.hypot(x - a[0], y - a[1])));
  const far = away.indexOf(Math.max(...away));
  return away[far] <= most ? [a, b] : [...fewer(line.slice(0, far + 1), most).slice(0, -1), ...fewer(line.slice(far), most)];
}

/** @param {App} app */
export function lasso(app) {
  const { data, state, view, picture, camera, stats, say } = app, stage = el("stage");
  let line = /** @type {number[][]} */ ([]), box = /** @type {number[]} */ (null); // being drawn
  let from = /** @type {any} */ (null), known = "";
  const opener = button("Select", "Select cells: draw around them, or with the arrow keys", () => arm(!app.tool));
  el("tools").append(opener);

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
    const how = keys.shiftKey ? "add" : keys.altKey ? "cut" : app.selecting, deep = camera.dim === 3;
    const [sx, sy] = camera.scale(width, height), { x, y, yaw, pitch } = camera;
    // In one and two dimensions the places are those of the data.
    const places = polygon.map(([px, py]) => [px / sx + (deep ? 0 : x), py / sy + (deep ? 0 : y)]);
    const shape = { adds: Number(how !== "cut"), dim: camera.dim, camera: deep ? [x, y, yaw, pitch] : [], polygon: places };
    state.set({ lasso: [...(how === "new" ? [] : state.view.lasso), format(shape, 3 + Math.max(0, Math.ceil(Math.log10(camera.zoom))))], panel: "select" });
  }

  const corners = (/** @type {number[]} */ [x, y, w, h]) => [[x - w, y - h], [x + w, y - h], [x + w, y + h], [x - w, y + h]];

  // Before the picture's own keys: while the tool has the pointer, arrows are for the rectangle.
  stage.addEventListener("keydown", (event) => {
    if (!app.tool || event.target !== picture.canvas || event.ctrlKey || event.metaKey) return;
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
    if (event.key === "Enter" && box) take(corners(box), event, spot(app, { clientX: 0, clientY: 0 }));
    else if (dx || dy) {
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

  view.parts.push(async () => {
    const asked = state.view.lasso.join("\t");
    if (asked === known) return;
    const shapes = state.view.lasso.map(parse), good = shapes.filter((shape) => data.dims.includes(shape?.dim));
    if (good.length < shapes.length) say("A part of the selection in this address cannot be read.");
    const about = await Promise.all(good.map(async (shape) => ({ ...onScreen(shape), points: shape.dim === view.shown.dim ? undefined : await data.points(shape.dim) })));
    const mask = await stats.ask("select", { shapes: about });
    if (asked !== state.view.lasso.join("\t")) return;
    known = asked;
    picture.setMask(mask);
  });
}
