// The neighbor graph and the vector field, over or under the cells. Both are thinned out so that what
// is drawn stays bounded: some of the edges, and a mean arrow for each small square of the screen.

import { css, theme } from "./colors.js";
import { project } from "./geometry.js";

const MOST_EDGES = 400000;
const SQUARE = 26; // of the page's pixels

/** @param {App} app */
export function overlays(app) {
  const { data, view, state, picture, camera, stats } = app;
  let edges = null, lines = {}, arrows = new Float32Array(0), vectors = "", longest = 0;

  async function graph() {
    const wanted = { on: state.view.graph && data.identity.stats.has_connectivity === true, group: view.shown.group, dim: view.shown.dim };
    if (wanted.on === Boolean(lines.on) && (!wanted.on || (wanted.group === lines.group && wanted.dim === lines.dim))) return;
    lines = wanted;
    if (!wanted.on) return picture.setLines(new Float32Array(0), new Uint16Array(0));
    edges ??= await data.edges(MOST_EDGES);
    const { positions, ends } = await stats.ask("lines", { edges, group: wanted.group });
    if (lines === wanted) picture.setLines(positions, ends);
  }

  async function field() {
    const { dim, group } = view.shown, { matrix, width, height } = seen();
    const path = data.vectors(state.view.field, dim);
    arrows = new Float32Array(0);
    if (!path) return app.relabel();
    if (vectors !== path) {
      const values = await data.folder.array(path, Float32Array, data.cells * dim);
      await stats.ask("vectors", { vectors: values }, [values.buffer]);
      vectors = path;
    }
    arrows = await stats.ask("arrows", { matrix, width, height, step: SQUARE, group, hidden: view.hiddenCodes(group) });
    const lengths = [];
    for (let i = 0; i < arrows.length; i += 6) lengths.push(length(matrix, width, height, i));
    longest = lengths.sort((a, b) => a - b)[Math.floor(lengths.length * 0.9)] || 1;
    app.relabel();
  }

  function seen() {
    const box = picture.layout()[0], { clientWidth, clientHeight } = picture.canvas;
    const width = clientWidth * box.w, height = clientHeight * box.h;
    return { width, height, matrix: camera.matrix(width, height) };
  }

  /** An arrow on the screen: from where, and by how much. */
  function ends(matrix, width, height, i) {
    const [x, y, z, dx, dy, dz] = arrows.subarray(i, i + 6);
    const [ax, ay] = project(matrix, x, y, z), [bx, by] = project(matrix, x + dx, y + dy, z + dz);
    return [(ax * 0.5 + 0.5) * width, (0.5 - ay * 0.5) * height, (bx - ax) * 0.5 * width, (ay - by) * 0.5 * height];
  }
  const length = (...about) => Math.hypot(...ends(...about).slice(2));

  app.layers.unshift((ctx, width, height, ratio) => {
    const matrix = camera.matrix(width, height), { background, ink } = theme();
    const scale = (SQUARE * 0.9) / longest;
    ctx.beginPath();
    for (let i = 0; i < arrows.length; i += 6) {
      const [x, y, dx, dy] = ends(matrix, width, height, i);
      const long = Math.min(Math.hypot(dx, dy) * scale, SQUARE * 1.5 * ratio), turn = Math.atan2(dy, dx);
      const [tx, ty] = [x + Math.cos(turn) * long, y + Math.sin(turn) * long];
      ctx.moveTo(x, y);
      ctx.lineTo(tx, ty);
      for (const side of [2.6, -2.6]) {
        ctx.moveTo(tx, ty);
        ctx.lineTo(tx + Math.cos(turn + side) * long * 0.35, ty + Math.sin(turn + side) * long * 0.35);
      }
    }
    for (const [lineWidth, color] of [[3.5, background], [1.3, ink]]) {
      Object.assign(ctx, { lineWidth: lineWidth * ratio, strokeStyle: css(color), lineCap: "round" });
      ctx.stroke();
    }
  });

  view.parts.push(() => Promise.all([graph(), field()]).then(() => {}, app.fail));
}
