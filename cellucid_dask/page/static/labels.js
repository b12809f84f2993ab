// The names of categories at their centroids, and whatever else is drawn over the cells.

import { css, theme } from "./colors.js";
import { el } from "./dom.js";
import { project } from "./geometry.js";

/** @param {App} app */
export function labels(app) {
  const { camera, picture, state, view, layers } = app;
  const canvas = el("labels"), ctx = canvas.getContext("2d");
  app.relabel = () => {
    ctx.clearRect(0, 0, canvas.width, canvas.height);
    drawLayers(app, ctx, canvas.width, canvas.height, picture.ratio);
  };
  view.addEventListener("shown", app.relabel);

  layers.push((ctx, width, height, ratio, panel) => {
    const { dim } = view.shown, own = view.others[panel - 1]?.column;
    const group = own?.kind === "category" ? own : view.shown.group, centroids = group?.centroids[dim];
    if (!Array.isArray(centroids) || !state.view.labels) return;
    const matrix = camera.matrix(width, height), size = Math.min(13, Math.max(10, width / ratio / 50)) * ratio;
    const { background, ink } = theme();
    const hidden = new Set(group === own ? [] : state.view.hide.map((i) => group.categories[i]));
    Object.assign(ctx, { font: `600 ${size}px system-ui, sans-serif`, textAlign: "center", textBaseline: "middle", lineJoin: "round", lineWidth: 3.5 * ratio, strokeStyle: css(background), fillStyle: css(ink) });
    const taken = [];
    // The largest categories first; a name that would lie over another is left out.
    for (const { category, position } of centroids.filter((one) => Array.isArray(one?.position)).sort((a, b) => b.n_points - a.n_points)) {
      if (hidden.has(category)) continue;
      const [px, py] = project(matrix, position[0], position[1] ?? 0, position[2] ?? 0);
      const x = (px * 0.5 + 0.5) * width, y = (0.5 - py * 0.5) * height;
      const name = String(category).replace(/^(.{39}).{2,}$/, "$1…"), w = ctx.measureText(name).width / 2 + 2 * ratio, h = size * 0.6;
      if (!(x > 0 && x < width && y > 0 && y < height)) continue;
      if (taken.some(([a, b, c, d]) => Math.abs(a - x) < c + w && Math.abs(b - y) < d + h)) continue;
      taken.push([x, y, w, h]);
      ctx.strokeText(name, x, y);
      ctx.fillText(name, x, y);
    }
  });
}

/** @param {App} app @param {CanvasRenderingContext2D} ctx */
export function drawLayers({ picture, layers }, ctx, width, height, ratio) {
  picture.layout().forEach((box, i) => {
    ctx.save();
    ctx.beginPath();
    ctx.rect(box.x * width, box.y * height, box.w * width, box.h * height);
    ctx.clip();
    ctx.translate(box.x * width, box.y * height);
    for (const layer of layers) layer(ctx, box.w * width, box.h * height, ratio, i);
    ctx.restore();
  });
}
