// The picture: cells as points, by WebGL2. The bytes of an export go to the graphics card as they are;
// what changes afterwards is a few numbers or one texel. It fetches nothing.
//
// One Picture is one canvas with one or more panels, which share positions, groups and camera and
// differ in the column that colours. Large data is drawn in passes, each of every k-th cell (no copy:
// a longer stride): one pass is enough while the camera moves, all are added up when it rests.

import { check } from "./fetch.js";
import { theme } from "./colours.js";
import { drawPass, program, texture } from "./pass.js";
import { LINES, POINTS } from "./shaders.js";

const PASS_MS = 40; // a pass should take about this long
const WAIT_MS = 250; // how long the old picture may stay until the new one is whole

export class Picture {
  cells = 0;
  dim = 2;
  lit = -1; // the code that is lit up
  size = 1; // of points, beside what suits their number
  ratio = 1; // pixels of the canvas in one of the page's
  lineCount = 0;
  smoothly = false;
  /** @type {Panel[]} */ panels = [];
  /** @type {Record<"position" | "group" | "chosen" | "line" | "ends", Uploaded | null>} */
  inputs = { position: null, group: null, chosen: null, line: null, ends: null };
  // How far the drawing is:
  pass = 0;
  passes = 0; // 0: to be begun
  perPass = 3e5; // cells; learnt from how long passes take
  begun = 0;
  moving = false;
  asked = false;
  /** @type {WebGLSync | null} */ fence = null;
  waiting = [];

  /** @param {HTMLCanvasElement} canvas @param {import("./camera.js").Camera} camera */
  constructor(canvas, camera) {
    this.canvas = canvas;
    this.camera = camera;
    const gl = (this.gl = canvas.getContext("webgl2", { antialias: false, depth: false, preserveDrawingBuffer: true }));
    check(gl, "This browser has no WebGL2, with which the cells are drawn. A current Firefox, Chrome, Edge or Safari has it, unless graphics acceleration is switched off.");
    this.points = program(gl, POINTS, ["position", "value", "group", "chosen"]);
    this.lines = program(gl, LINES, ["position", "ends"]);
    this.groups = texture(gl);
    this.target = { frame: gl.createFramebuffer(), colour: gl.createRenderbuffer(), depth: gl.createRenderbuffer(), key: "" };
    this.setGroupColours(new Uint8Array(4).fill(255));
  }

  /** @param {Float32Array} positions @param {number} dim */
  setPoints(positions, dim) {
    this.cells = positions.length / dim;
    this.dim = dim;
    this.put("position", positions);
  }

  /** The field that hides cells and, in a panel without numbers, colours them. @param {Column | null} column */
  setGroup(column) {
    this.put("group", column?.codes);
  }

  /** Fade cells outside a selection: a byte a cell, 1 inside. @param {Uint8Array | null} mask */
  setMask(mask) {
    this.put("chosen", mask);
  }

  /** Lines between cells: three coordinates, and the categories of both its ends, for each end of a line. */
  setLines(positions, ends) {
    this.lineCount = positions.length / 3;
    this.put("line", positions);
    this.put("ends", ends);
  }

  /** Red, green, blue and 255 (128: behind others, 0: hidden) for each code. @param {Uint8Array} rgba */
  setGroupColours(rgba) {
    const { gl } = this, rows = Math.ceil(rgba.length / 1024), texels = new Uint8Array(rows * 1024);
    texels.set(rgba);
    gl.bindTexture(gl.TEXTURE_2D, this.groups);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, rows, 0, gl.RGBA, gl.UNSIGNED_BYTE, texels);
    this.draw();
  }

  /** What the i-th panel shows: a column of numbers, or the groups' colours. @param {number} i @param {Column | null} column */
  setPanel(i, column) {
    const panel = (this.panels[i] ??= { column: null, ramp: texture(this.gl), range: [0, 1, NaN] });
    panel.column = this.upload(column?.codes, panel.column);
    this.draw();
  }

  /** Codes at both ends of the map, the missing code, and the map's 256 colours. @param {number[]} range @param {Uint8Array} ramp */
  setScale(i, range, ramp) {
    const { gl } = this;
    this.panels[i].range = range;
    gl.bindTexture(gl.TEXTURE_2D, this.panels[i].ramp);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, ramp);
    this.draw();
  }

  /** @param {number} count of panels to keep */
  keepPanels(count) {
    for (const { column, ramp } of this.panels.splice(count)) {
      this.upload(null, column);
      this.gl.deleteTexture(ramp);
    }
    this.draw();
  }

  put(name, data) {
    this.inputs[name] = this.upload(data, this.inputs[name]);
    this.draw();
  }

  /** @param {any} data @param {Uploaded | null} old in whose place it comes @returns {Uploaded | null} */
  upload(data, old) {
    const { gl } = this;
    if (old) gl.deleteBuffer(old.buffer);
    if (!data) return null;
    const buffer = gl.createBuffer(), bytes = data.BYTES_PER_ELEMENT;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    return { buffer, bytes, type: [0, gl.UNSIGNED_BYTE, gl.UNSIGNED_SHORT, 0, gl.FLOAT][bytes] };
  }

  /** Where each panel lies. @returns {Box[]} */
  layout() {
    const count = this.panels.length, wide = this.canvas.width > this.canvas.height;
    const columns = count > 2 || (count > 1 && wide) ? 2 : 1, rows = Math.ceil(count / columns);
    return this.panels.map((_, i) => ({ x: (i % columns) / columns, y: Math.floor(i / columns) / rows, w: 1 / columns, h: 1 / rows }));
  }

  /** Draw anew, soon; while the camera moves, a part of the cells is enough. */
  draw(moving = false) {
    this.passes = 0;
    this.moving = moving;
    this.schedule();
  }

  /** @returns {Promise<void>} when all that was asked for is on the screen */
  drawn() {
    this.schedule();
    return new Promise((done) => this.waiting.push(done));
  }

  schedule() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.frame();
    });
  }

  /** One pass, unless the card is still busy with the last. */
  frame() {
    const { gl, canvas, cells, panels } = this;
    if (this.fence) {
      if (gl.clientWaitSync(this.fence, 0, 0) === gl.TIMEOUT_EXPIRED) return this.schedule();
      gl.deleteSync(this.fence);
      this.fence = null;
      this.learn(performance.now() - this.sent);
    }
    this.prepare(canvas.width, canvas.height);
    if (!cells || !panels.length || (this.passes && this.pass >= this.passes)) {
      for (const done of this.waiting.splice(0)) done();
      return;
    }
    if (!this.passes) {
      const most = Math.floor(255 / (4 * this.dim)); // WebGL's longest stride
      this.passes = Math.min(most, Math.ceil((cells * panels.length) / this.perPass));
      this.pass = 0;
      this.begun = performance.now();
      const [r, g, b] = theme().background;
      gl.clearColor(r / 255, g / 255, b / 255, 1);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    }
    drawPass(this, this.pass++, this.passes);
    if (this.pass === this.passes || this.moving || performance.now() - this.begun > WAIT_MS) {
      gl.bindFramebuffer(gl.DRAW_FRAMEBUFFER, null);
      gl.blitFramebuffer(0, 0, canvas.width, canvas.height, 0, 0, canvas.width, canvas.height, gl.COLOR_BUFFER_BIT, gl.NEAREST);
    }
    this.fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    this.sent = performance.now();
    this.schedule();
  }

  /** @param {number} ms that a pass took */
  learn(ms) {
    const by = ms > PASS_MS * 1.5 ? 0.7 : ms < PASS_MS * 0.7 ? 1.4 : 1;
    this.perPass = Math.min(2e7, Math.max(5e4, this.perPass * by));
  }

  /** Somewhere to draw, of the canvas's size. */
  prepare(width, height) {
    const { gl, target } = this;
    const samples = this.cells > 1e5 ? 0 : 4; // smooth edges cost more than they show on many small points
    const key = `${width} ${height} ${samples}`;
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.frame);
    if (target.key === key) return;
    target.key = key;
    this.passes = 0;
    this.smoothly = samples > 0;
    for (const [buffer, format, slot] of [[target.colour, gl.RGBA8, gl.COLOR_ATTACHMENT0], [target.depth, gl.DEPTH_COMPONENT24, gl.DEPTH_ATTACHMENT]]) {
      gl.bindRenderbuffer(gl.RENDERBUFFER, buffer);
      gl.renderbufferStorageMultisample(gl.RENDERBUFFER, samples, /** @type {number} */ (format), width, height);
      gl.framebufferRenderbuffer(gl.FRAMEBUFFER, /** @type {number} */ (slot), gl.RENDERBUFFER, buffer);
    }
  }
}
