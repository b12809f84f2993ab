// The names of categories at their centroids, and whatever else is drawn over the cells.

import { el } from "./dom.js";
import { theme, css, dark } from "./colours.js";
import { project } from "./geometry.js";

/** @param {import("./main.js").App} app */
export function labels(app) {
  const { camera, picture, state, view, layers } = app;
  const canvas = el("labels");
  const ctx = canvas.getContext("2d");

  app.relabel = () => {
    ctx.clearRect(0, 0, canvas.width, canvas.height);
    drawLayers(app, ctx, canvas.width, canvas.height, picture.ratio);
  };
  view.addEventListener("shown", app.relabel);

  layers.push((ctx, width, height, ratio) => {
    const { group, dim } = view.shown;
    if (!group || !state.view.labels) return;
    const matrix = camera.matrix(width, height);
    const hidden = new Set(state.view.hide);
    const size = Math.min(13, Math.max(10, width / ratio / 50)) * ratio;
    ctx.font = `600 ${size}px system-ui, sans-serif`;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    ctx.lineJoin = "round";
    ctx.lineWidth = 3.5 * ratio;
    ctx.strokeStyle = css(theme().background);
    ctx.fillStyle = dark() ? "#f2f2f5" : "#1b1c20";
    const codes = new Map(group.categories.map((name, i) => [name, i]));
    const taken = /** @type {number[][]} */ ([]);
    const centroids = Array.isArray(group.centroids[dim]) ? [...group.centroids[dim]] : [];
    // The largest categories first; a name that would lie over another is left out.
    for (const { category, position } of centroids.sort((a, b) => b.n_points - a.n_points)) {
      if (hidden.has(codes.get(category)) || !Array.isArray(position)) continue;
      const [px, py] = project(matrix, position[0], position[1] ?? 0, position[2] ?? 0);
      const x = (px * 0.5 + 0.5) * width, y = (0.5 - py * 0.5) * height;
      const name = String(category).length > 40 ? `${String(category).slice(0, 39)}…` : String(category);
      const w = ctx.measureText(name).width / 2 + 2 * ratio, h = size * 0.6;
      if (x < 0 || x > width || y < 0 || y > height) continue;
      if (taken.some(([a, b, c, d]) => Math.abs(a - x) < c + w && Math.abs(b - y) < d + h)) continue;
      taken.push([x, y, w, h]);
      ctx.strokeText(name, x, y);
      ctx.fillText(name, x, y);
    }
  });
}

/** @param {import("./main.js").App} app @param {CanvasRenderingContext2D} ctx @param {number} width @param {number} height @param {number} ratio */
export function drawLayers({ picture, layers }, ctx, width, height, ratio) {
  for (const box of picture.layout()) {
    ctx.save();
    ctx.translate(box.x * width, box.y * height);
    ctx.beginPath();
    ctx.rect(0, 0, box.w * width, box.h * height);
    ctx.clip();
    for (const layer of layers) layer(ctx, box.w * width, box.h * height, ratio);
    ctx.restore();
  }
}
