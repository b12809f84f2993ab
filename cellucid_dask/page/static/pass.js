// One pass of the picture: every `passes`-th cell of each panel, and what lies over them with the last.

import { theme } from "./colors.js";

/** @param {WebGL2RenderingContext} gl @param {string[]} sources @param {string[]} inputs in the order of their slots */
export function program(gl, sources, inputs) {
  const made = gl.createProgram();
  [gl.VERTEX_SHADER, gl.FRAGMENT_SHADER].forEach((kind, i) => {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, sources[i]);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  });
  inputs.forEach((name, slot) => gl.bindAttribLocation(made, slot, name));
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(made));
  /** @type {Record<string, WebGLUniformLocation>} */
  const at = {};
  for (let i = gl.getProgramParameter(made, gl.ACTIVE_UNIFORMS) - 1; i >= 0; i--) {
    const { name } = gl.getActiveUniform(made, i);
    at[name] = gl.getUniformLocation(made, name);
  }
  return { made, at };
}

/** A texture that is looked up, not stretched. */
export function texture(gl) {
  const made = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, made);
  for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
  return made;
}

/** Which cells: all; all as if they were behind others; only those before others. */
export const ALL = 0, GROUND = 1, BEFORE = 2;

/** The list of the cells before others, where there is one. */
export const listed = ({ few, range }, layer) => (layer === BEFORE && few && Math.fround(range[0]) >= few.of.code ? few : null);

/** @param {import("./picture.js").Picture} picture @param {number} pass @param {number} passes @param {number} layer */
export function drawPass(picture, pass, passes, layer) {
  const { gl, canvas, cells, dim, inputs, panels, lit, frames: { smoothly } } = picture;
  const boxes = picture.layout(), size = pointSize(picture, canvas.width * boxes[0].w, canvas.height * boxes[0].h);
  const { made, at } = picture.points(size > (dim === 3 ? 1.5 : 2.5)); // in 3D near ones are larger
  gl.enable(gl.DEPTH_TEST);
  gl.depthFunc(gl.LEQUAL);
  if (smoothly) gl.enable(gl.SAMPLE_ALPHA_TO_COVERAGE);
  gl.useProgram(made);
  const { background, missing, faded } = theme();
  for (const [name, color] of Object.entries({ background, missing, faded })) gl.uniform3fv(at[name], color.map((part) => part / 255));
  const whole = { groups: 0, ramp: 1, dim, lit, layer, smoothly: Number(smoothly), hiding: Number(picture.hiding) };
  for (const [name, value] of Object.entries(whole)) gl.uniform1i(at[name], value);
  bind(gl, gl.TEXTURE0, picture.groups);
  panels.forEach((panel, i) => {
    const { column, named, range, ramp, middle, ground } = panel, few = listed(panel, layer);
    const [first, step] = few ? [0, 1] : [pass, passes];
    gl.uniform1i(at.offset, first);
    gl.uniform1i(at.stride, step);
    [inputs.position, column, inputs.group, inputs.chosen].forEach((from, slot) => input(gl, slot, from, slot ? 1 : dim, first, step));
    const [width, height] = viewport(gl, canvas, boxes[i]);
    gl.uniformMatrix4fv(at.matrix, false, picture.camera.matrix(width, height));
    gl.uniform1f(at.size, size);
    gl.uniform1i(at.numbers, Number(Boolean(column) && !named));
    gl.uniform1i(at.named, Number(named));
    gl.uniform3fv(at.range, range);
    gl.uniform1f(at.middle, middle);
    gl.uniform3fv(at.ground, ((column && ground) || faded).map((part) => part / 255));
    bind(gl, gl.TEXTURE1, ramp);
    if (!few) return gl.drawArrays(gl.POINTS, 0, Math.ceil((cells - pass) / passes));
    const [from, to] = [pass, pass + 1].map((part) => Math.round((few.of.cells.length * part) / passes));
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, few.buffer);
    gl.drawElements(gl.POINTS, to - from, gl.UNSIGNED_INT, from * 4);
  });
  gl.disable(gl.SAMPLE_ALPHA_TO_COVERAGE);
  if (pass === passes - 1 && layer !== BEFORE && picture.over) picture.over(boxes);
}

/** Every `step`-th group of `width` codes, from the `first`; slot 2 has whole numbers.
 * @param {WebGL2RenderingContext} gl @param {number} slot @param {Uploaded | null} from */
export function input(gl, slot, from, width, first, step, whole = slot === 2) {
  if (!from) {
    gl.disableVertexAttribArray(slot);
    if (whole) gl.vertexAttribI4ui(slot, 0, 0, 0, 0);
    else gl.vertexAttrib1f(slot, 1);
    return;
  }
  const size = from.bytes * width;
  gl.enableVertexAttribArray(slot);
  gl.bindBuffer(gl.ARRAY_BUFFER, from.buffer);
  if (whole) gl.vertexAttribIPointer(slot, width, from.type, size * step, size * first);
  else gl.vertexAttribPointer(slot, width, from.type, false, size * step, size * first);
}

function bind(gl, unit, texture) {
  gl.activeTexture(unit);
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.activeTexture(gl.TEXTURE0);
}

export function viewport(gl, canvas, box) {
  const width = canvas.width * box.w, height = canvas.height * box.h;
  gl.viewport(canvas.width * box.x, canvas.height * (1 - box.y - box.h), width, height);
  return [width, height];
}

/** Points as large as cells are sparse, growing a little as they come nearer.
 * @param {import("./picture.js").Picture} picture */
export function pointSize({ cells, ratio, camera, size }, width, height) {
  const suits = Math.min(7, Math.max(1.25, (0.5 * Math.sqrt((width * height) / cells)) / ratio));
  return Math.min(16, suits * Math.sqrt(Math.max(1, camera.zoom))) * size * ratio;
}
