// The picture: cells as points, by WebGL2. The bytes of an export go to the graphics card as they are;
// everything that changes afterwards is a few numbers or one texel. It fetches nothing.
//
// One Picture is one canvas with one or more panels, which share positions, groups and camera, and
// differ in the column that colours. Large data is drawn in passes, each of every k-th cell (no copy:
// a longer stride): one pass is enough while the camera moves, all are added up when it rests.

import { check } from "./fetch.js";
import { LINES, POINTS } from "./shaders.js";
import { theme } from "./colours.js";
import { drawPass, glType, program, texture } from "./pass.js";

/** @typedef {import("./export.js").Column} Column */
/** @typedef {{mode: 0 | 1, buffer: WebGLBuffer | null, type: number, bytes: number, range: number[], ramp: WebGLTexture | null}} Panel */

const PASS_MS = 40; // a pass should take about this long
const WAIT_MS = 250; // how long the old picture may stay until the new one is whole

export class Picture {
  /** @param {HTMLCanvasElement} canvas @param {import("./camera.js").Camera} camera */
  constructor(canvas, camera) {
    const gl = canvas.getContext("webgl2", { antialias: false, depth: false, preserveDrawingBuffer: true });
    check(gl, "This browser has no WebGL2, with which the cells are drawn. A current Firefox, Chrome, Edge or Safari with graphics acceleration switched on has it.");
    this.gl = gl;
    this.canvas = canvas;
    this.camera = camera;
    this.cells = 0;
    this.dim = 2;
    this.lit = -1; // the category that is lit up
    this.ratio = 1; // pixels of the screen in one of the page's
    this.smoothly = false;
    this.size = 1; // of points, beside what is found to suit
    /** @type {Panel[]} */ this.panels = [];
    this.points = program(gl, POINTS, ["position", "value", "group", "chosen"]);
    this.lines = program(gl, LINES, ["position", "ends"]);
    this.buffers = { position: gl.createBuffer(), group: gl.createBuffer(), chosen: gl.createBuffer(), line: gl.createBuffer(), ends: gl.createBuffer() };
    this.groupType = 0; // no field
    this.masked = false;
    this.lineCount = 0;
    this.target = { frame: gl.createFramebuffer(), colour: gl.createRenderbuffer(), depth: gl.createRenderbuffer(), key: "" };
    this.perPass = 3e5; // cells; learnt from how long passes take
    this.state = { pass: 0, passes: 0, since: 0, moving: false, asked: false, fence: /** @type {WebGLSync | null} */ (null), sent: 0, cost: 0 };
    /** @type {(() => void)[]} */ this.waiting = [];
    this.groups = texture(gl);
    this.setGroupColours(new Uint8Array(4).fill(255));
    canvas.addEventListener("webglcontextlost", () => canvas.dispatchEvent(new CustomEvent("lost")));
  }

  /** @param {Float32Array} positions @param {number} dim */
  setPoints(positions, dim) {
    this.cells = positions.length / dim;
    this.dim = dim;
    this.fill(this.buffers.position, positions);
    this.draw();
  }

  /** The field whose categories hide cells and, in a panel without numbers, colour them. @param {Column | null} column */
  setGroup(column) {
    this.groupType = column ? glType(this.gl, column.codes) : 0;
    if (column) this.fill(this.buffers.group, column.codes);
    this.draw();
  }

  /** Red, green, blue and 255 (0: hidden, 128: behind others) for each code. @param {Uint8Array} rgba */
  setGroupColours(rgba) {
    const { gl } = this;
    const codes = rgba.length / 4;
    const rows = Math.ceil(codes / 256);
    const texels = new Uint8Array(rows * 1024);
    texels.set(rgba);
    gl.bindTexture(gl.TEXTURE_2D, this.groups);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, rows, 0, gl.RGBA, gl.UNSIGNED_BYTE, texels);
    this.draw();
  }

  /** Fade cells outside a selection: a byte a cell, 1 inside. @param {Uint8Array | null} mask */
  setMask(mask) {
    this.masked = Boolean(mask);
    if (mask) this.fill(this.buffers.chosen, mask);
    this.draw();
  }

  /** What the i-th panel shows: a column of numbers, or the groups' colours. @param {number} i @param {Column | null} column */
  setPanel(i, column) {
    const { gl } = this;
    const old = this.panels[i] ?? { buffer: gl.createBuffer(), ramp: texture(gl), range: [0, 1, NaN] };
    const panel = { ...old, mode: /** @type {0 | 1} */ (column ? 1 : 0), type: 0, bytes: 0 };
    if (column) {
      panel.type = glType(gl, column.codes);
      panel.bytes = column.codes.BYTES_PER_ELEMENT;
      this.fill(panel.buffer, column.codes);
    }
    this.panels[i] = panel;
    this.draw();
  }

  /** Codes at the ends of the map, the missing code, and the map's 256 colours. @param {number} i @param {number[]} range @param {Uint8Array} ramp */
  setScale(i, range, ramp) {
    const { gl } = this;
    this.panels[i].range = range;
    gl.bindTexture(gl.TEXTURE_2D, this.panels[i].ramp);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, ramp);
    this.draw();
  }

  /** @param {number} count panels to keep */
  keepPanels(count) {
    for (const panel of this.panels.splice(count)) {
      this.gl.deleteBuffer(panel.buffer);
      this.gl.deleteTexture(panel.ramp);
    }
    this.draw();
  }

  /** Lines between cells: three coordinates and two categories for each end of a line. @param {Float32Array} positions @param {Uint16Array} ends */
  setLines(positions, ends) {
    this.lineCount = positions.length / 3;
    this.fill(this.buffers.line, positions);
    this.fill(this.buffers.ends, ends);
    this.draw();
  }

  /** @param {WebGLBuffer | null} buffer @param {ArrayBufferView} data */
  fill(buffer, data) {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
  }

  /** Where each panel lies, in parts of the canvas from its upper left corner. @returns {{x: number, y: number, w: number, h: number}[]} */
  layout() {
    const count = this.panels.length;
    const wide = this.canvas.width > this.canvas.height;
    const columns = count < 2 ? 1 : count > 2 || wide ? 2 : 1;
    const rows = Math.ceil(count / columns);
    return this.panels.map((_, i) => ({ x: (i % columns) / columns, y: Math.floor(i / columns) / rows, w: 1 / columns, h: 1 / rows }));
  }

  /** Draw anew, soon. @param {boolean} moving a part of the cells is enough */
  draw(moving = false) {
    this.state.passes = 0;
    this.state.moving = moving;
    this.schedule();
  }

  /** @returns {Promise<void>} when all that was asked for is on the screen */
  drawn() {
    return new Promise((done) => {
      this.waiting.push(done);
      this.schedule();
    });
  }

  schedule() {
    if (this.state.asked) return;
    this.state.asked = true;
    requestAnimationFrame(() => {
      this.state.asked = false;
      this.frame();
    });
  }

  /** One pass, unless the card is still busy with the last. */
  frame() {
    const { gl, state } = this;
    if (state.fence) {
      if (gl.clientWaitSync(state.fence, 0, 0) === gl.TIMEOUT_EXPIRED) return this.schedule();
      gl.deleteSync(state.fence);
      state.fence = null;
      this.learn(performance.now() - state.sent);
    }
    if (!this.cells || !this.panels.length || !this.canvas.width) return this.finish();
    if (state.passes && state.pass >= state.passes) return this.finish();
    this.prepare(this.canvas.width, this.canvas.height);
    if (!state.passes) {
      const most = Math.floor(255 / (4 * this.dim)); // WebGL's longest stride
      state.passes = Math.min(most, Math.max(1, Math.ceil((this.cells * this.panels.length) / this.perPass)));
      state.pass = 0;
      state.since = performance.now();
      this.clear();
    }
    drawPass(this, state.pass++, state.passes);
    const whole = state.pass === state.passes;
    if (whole || state.moving || performance.now() - state.since > WAIT_MS) this.show();
    state.fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    state.sent = performance.now();
    this.schedule();
  }

  /** @param {number} ms that a pass took */
  learn(ms) {
    const aim = ms > PASS_MS * 1.5 ? 0.7 : ms < PASS_MS * 0.7 ? 1.4 : 1;
    this.perPass = Math.min(2e7, Math.max(5e4, this.perPass * aim));
  }

  finish() {
    for (const done of this.waiting.splice(0)) done();
  }

  /** Somewhere to draw, of a size. @param {number} width @param {number} height */
  prepare(width, height) {
    const { gl, target } = this;
    const samples = this.cells <= 1e5 ? 4 : 0; // smooth edges cost more than they show on many small points
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.frame);
    const key = `${width} ${height} ${samples}`;
    if (target.key === key) return;
    target.key = key;
    this.state.passes = 0;
    for (const [buffer, format, slot] of /** @type {const} */ ([[target.colour, gl.RGBA8, gl.COLOR_ATTACHMENT0], [target.depth, gl.DEPTH_COMPONENT24, gl.DEPTH_ATTACHMENT]])) {
      gl.bindRenderbuffer(gl.RENDERBUFFER, buffer);
      gl.renderbufferStorageMultisample(gl.RENDERBUFFER, samples, format, width, height);
      gl.framebufferRenderbuffer(gl.FRAMEBUFFER, slot, gl.RENDERBUFFER, buffer);
    }
    this.smoothly = samples > 0;
  }

  clear() {
    const { gl } = this;
    const [r, g, b] = theme().background.map((part) => part / 255);
    gl.clearColor(r, g, b, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  }

  show() {
    const { gl, canvas } = this;
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, this.target.frame);
    gl.bindFramebuffer(gl.DRAW_FRAMEBUFFER, null);
    gl.blitFramebuffer(0, 0, canvas.width, canvas.height, 0, 0, canvas.width, canvas.height, gl.COLOR_BUFFER_BIT, gl.NEAREST);
  }
}
