// One pass of the picture: every `passes`-th cell of each panel, and the lines with the last.

import { theme } from "./colours.js";

/** @typedef {import("./picture.js").Picture} Picture */

/** @param {WebGL2RenderingContext} gl @param {string[]} sources @param {string[]} inputs in the order of their slots */
export function program(gl, sources, inputs) {
  const made = /** @type {WebGLProgram} */ (gl.createProgram());
  [gl.VERTEX_SHADER, gl.FRAGMENT_SHADER].forEach((kind, i) => {
    const shader = /** @type {WebGLShader} */ (gl.createShader(kind));
    gl.shaderSource(shader, sources[i]);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  });
  inputs.forEach((name, slot) => gl.bindAttribLocation(made, slot, name));
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(made) ?? "");
  /** @type {Record<string, WebGLUniformLocation | null>} */
  const at = {};
  for (let i = gl.getProgramParameter(made, gl.ACTIVE_UNIFORMS) - 1; i >= 0; i--) {
    const { name } = /** @type {WebGLActiveInfo} */ (gl.getActiveUniform(made, i));
    at[name] = gl.getUniformLocation(made, name);
  }
  return { made, at };
}

/** A texture that is looked up, not stretched. @param {WebGL2RenderingContext} gl */
export function texture(gl) {
  const made = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, made);
  for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
  return made;
}

/** @param {WebGL2RenderingContext} gl @param {import("./export.js").Codes} codes */
export const glType = (gl, codes) => [0, gl.UNSIGNED_BYTE, gl.UNSIGNED_SHORT, 0, gl.FLOAT][codes.BYTES_PER_ELEMENT];

/** @param {Picture} picture @param {number} pass @param {number} passes */
export function drawPass(picture, pass, passes) {
  const { gl, canvas, cells, dim, buffers, points: { made, at } } = picture;
  const { background, missing, faded } = theme();
  const count = Math.ceil((cells - pass) / passes);
  gl.enable(gl.DEPTH_TEST);
  gl.depthFunc(gl.LEQUAL);
  if (picture.smoothly) gl.enable(gl.SAMPLE_ALPHA_TO_COVERAGE);
  gl.useProgram(made);
  gl.uniform1i(at.groups, 0);
  gl.uniform1i(at.ramp, 1);
  gl.uniform1i(at.dim, dim);
  gl.uniform1i(at.offset, pass);
  gl.uniform1i(at.stride, passes);
  gl.uniform1i(at.lit, picture.lit);
  gl.uniform1i(at.smoothly, Number(picture.smoothly));
  for (const [name, colour] of Object.entries({ background, missing, faded })) gl.uniform3fv(at[name], colour.map((part) => part / 255));
  bind(gl, gl.TEXTURE0, picture.groups);

  /** @param {number} slot @param {WebGLBuffer | null} buffer @param {number} type @param {number} bytes a cell @param {number} width */
  const input = (slot, buffer, type, bytes, width = 1) => {
    if (!type) {
      gl.disableVertexAttribArray(slot);
      return slot === 2 ? gl.vertexAttribI4ui(slot, 0, 0, 0, 0) : gl.vertexAttrib1f(slot, 1);
    }
    gl.enableVertexAttribArray(slot);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    if (slot === 2) gl.vertexAttribIPointer(slot, width, type, bytes * passes, bytes * pass);
    else gl.vertexAttribPointer(slot, width, type, false, bytes * passes, bytes * pass);
  };
  input(0, buffers.position, gl.FLOAT, 4 * dim, dim);
  input(2, buffers.group, picture.groupType, picture.groupType === gl.UNSIGNED_SHORT ? 2 : 1);
  input(3, buffers.chosen, picture.masked ? gl.UNSIGNED_BYTE : 0, 1);

  const boxes = picture.layout();
  picture.panels.forEach((panel, i) => {
    const [width, height] = viewport(gl, canvas, boxes[i]);
    gl.uniformMatrix4fv(at.matrix, false, picture.camera.matrix(width, height));
    gl.uniform1f(at.size, pointSize(picture, width, height));
    gl.uniform1i(at.mode, panel.mode);
    gl.uniform3fv(at.range, panel.range);
    bind(gl, gl.TEXTURE1, panel.ramp);
    input(1, panel.buffer, panel.type, panel.bytes);
    gl.drawArrays(gl.POINTS, 0, count);
  });
  gl.disable(gl.SAMPLE_ALPHA_TO_COVERAGE);
  if (pass === passes - 1 && picture.lineCount) drawLines(picture, boxes);
}

/** @param {WebGL2RenderingContext} gl @param {number} unit @param {WebGLTexture | null} texture */
function bind(gl, unit, texture) {
  gl.activeTexture(unit);
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.activeTexture(gl.TEXTURE0);
}

/** @param {WebGL2RenderingContext} gl @param {HTMLCanvasElement} canvas @param {{x: number, y: number, w: number, h: number}} box */
function viewport(gl, canvas, box) {
  const width = canvas.width * box.w, height = canvas.height * box.h;
  gl.viewport(canvas.width * box.x, canvas.height * (1 - box.y - box.h), width, height);
  return [width, height];
}

/** Points as large as cells are sparse, growing a little as they come nearer.
 * @param {Picture} picture @param {number} width @param {number} height */
export function pointSize(picture, width, height) {
  const css = Math.min(7, Math.max(1.25, 0.5 * Math.sqrt((width * height) / picture.cells) / picture.ratio));
  return Math.min(16, css * Math.sqrt(Math.max(1, picture.camera.zoom))) * picture.size * picture.ratio;
}

/** @param {Picture} picture @param {{x: number, y: number, w: number, h: number}[]} boxes */
function drawLines(picture, boxes) {
  const { gl, canvas, buffers, lines: { made, at } } = picture;
  gl.useProgram(made);
  gl.uniform1i(at.groups, 0);
  const shade = theme().background[0] > 128 ? 0 : 1;
  // Fainter, the more there are.
  gl.uniform4f(at.ink, shade, shade, shade, Math.min(0.35, Math.max(0.04, 60 / Math.sqrt(picture.lineCount))));
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
  gl.depthMask(false);
  for (const slot of [2, 3]) gl.disableVertexAttribArray(slot);
  gl.enableVertexAttribArray(0);
  gl.bindBuffer(gl.ARRAY_BUFFER, buffers.line);
  gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 0, 0);
  gl.enableVertexAttribArray(1);
  gl.bindBuffer(gl.ARRAY_BUFFER, buffers.ends);
  gl.vertexAttribIPointer(1, 2, gl.UNSIGNED_SHORT, 0, 0);
  for (const box of boxes) {
    const [width, height] = viewport(gl, canvas, box);
    gl.uniformMatrix4fv(at.matrix, false, picture.camera.matrix(width, height));
    gl.drawArrays(gl.LINES, 0, picture.lineCount);
  }
  gl.disable(gl.BLEND);
  gl.depthMask(true);
}
