// The neighbor graph and the vector field, over or under the cells. Both are thinned out so that what
// is drawn stays bounded: some of the edges, and a mean arrow for each small square of the screen.

import { css, theme } from "./colors.js";
import { TYPES, isCount, isText } from "./export.js";
import { check } from "./fetch.js";
import { project } from "./geometry.js";
import { input, program, viewport } from "./pass.js";
import { CATEGORY, HEAD } from "./shaders.js";

const MOST_EDGES = 400000;
const SQUARE = 26; // of the page's pixels

const LINES = [`${HEAD}
in vec3 position;
in uvec2 ends;  // categories of both ends: a line of a hidden cell is not drawn
uniform mat4 matrix;
${CATEGORY}
void main() {
  gl_Position = matrix * vec4(position, 1.0);
  gl_Position.z = 0.9999 * gl_Position.w;
  if (category(ends.x).a * category(ends.y).a == 0.0) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
}`, `${HEAD}
uniform vec4 ink;
out vec4 pixel;
void main() { pixel = ink; }`];

/** @param {App} app */
export function create(app) {
  const { data, view, state, picture, camera, stats } = app;
  let edges = null, lines = {}, draw = null, arrows = new Float32Array(0), vectors = "", longest = 0;

  /** Both ends of edges of the neighbor graph, no more than so many. */
  async function readEdges() {
    const { n_edges: count, index_dtype: dtype, sourcesPath, destinationsPath } = (await data.folder.json("connectivity_manifest.json")) ?? {};
    check(isCount(count) && TYPES.has(dtype) && isText(sourcesPath) && isText(destinationsPath), "connectivity_manifest.json is damaged.");
    const [Type] = TYPES.get(dtype), step = Math.ceil(count / MOST_EDGES) || 1;
    return Promise.all([sourcesPath, destinationsPath].map((path) => data.folder.array(path, Type, count, every(step, Type.BYTES_PER_ELEMENT))));
  }

  async function graph() {
    const wanted = { on: state.view.graph && data.identity.stats.has_connectivity === true, group: view.shown.group, dim: view.shown.dim };
    if (wanted.on === Boolean(lines.on) && (!wanted.on || (wanted.group === lines.group && wanted.dim === lines.dim))) return;
    lines = wanted;
    if (!wanted.on) return picture.setOver(null);
    edges ??= (await data.edges(MOST_EDGES)) ?? (await readEdges());
    const { positions, ends } = await stats.ask("lines", { edges, group: wanted.group });
    if (lines !== wanted) return;
    draw ??= lineDrawer(picture);
    draw.put(positions, ends);
    picture.setOver(draw.over);
  }

  async function field() {
    const { dim, group, hidden } = view.shown, { matrix, width, height } = seen();
    const fields = data.identity.vector_fields?.fields ?? {}, asked = state.view.field;
    const path = Object.hasOwn(fields, asked) ? fields[asked]?.files?.[`${dim}d`] : null;
    arrows = new Float32Array(0);
    if (!isText(path)) return app.relabel();
    if (vectors !== path) {
      const values = await data.vectors(path, dim);
      await stats.ask("vectors", { vectors: values }, [values.buffer]);
      vectors = path;
    }
    arrows = await stats.ask("arrows", { matrix, width, height, step: SQUARE, group, hidden });
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

  return { update: () => Promise.all([graph(), field()]).catch(app.fail) };
}

/** Keeps every `step`-th number of `size` bytes. */
const every = (step, size) => (/** @type {Uint8Array} */ chunk, /** @type {number} */ offset) => {
  const out = new Uint8Array(chunk.length);
  let length = 0;
  for (let at = -(offset % (size * step)); at < chunk.length; at += size * step) {
    const part = chunk.subarray(Math.max(at, 0), Math.max(at + size, 0));
    out.set(part, length);
    length += part.length;
  }
  return out.slice(0, length);
};

/** Lines on the graphics card, between the cells' places. @param {import("./picture.js").Picture} picture */
function lineDrawer(picture) {
  const { gl, canvas, camera } = picture, { made, at } = program(gl, LINES, ["position", "ends"]);
  let line = null, ends = null, count = 0;

  function put(positions, categories) {
    count = positions.length / 3;
    line = picture.upload(positions, line);
    ends = picture.upload(categories, ends);
  }

  /** @param {Box[]} boxes */
  function over(boxes) {
    if (!count) return;
    gl.useProgram(made);
    gl.uniform1i(at.groups, 0);
    const shade = theme().background[0] > 128 ? 0.45 : 0.55;
    gl.uniform4f(at.ink, shade, shade, shade, Math.min(0.5, Math.max(0.04, 25 / Math.sqrt(count)))); // fainter, the more there are
    gl.enable(gl.BLEND);
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ZERO, gl.ONE); // the canvas stays opaque
    gl.depthMask(false);
    for (const slot of [2, 3]) gl.disableVertexAttribArray(slot);
    input(gl, 0, line, 3, 0, 1);
    input(gl, 1, ends, 2, 0, 1, true);
    for (const box of boxes) {
      const [width, height] = viewport(gl, canvas, box);
      gl.uniformMatrix4fv(at.matrix, false, camera.matrix(width, height));
      gl.drawArrays(gl.LINES, 0, count);
    }
    gl.disable(gl.BLEND);
    gl.depthMask(true);
  }

  return { put, over };
}
