// The picture: cells as points, by WebGL2. The bytes of an export go to the graphics card as they are;
// what changes afterwards is a few numbers or one texel. It fetches nothing.
//
// One Picture is one canvas with one or more panels, which share positions, groups and camera and
// differ in the column that colors. When and in how many steps it is drawn: frames.js.

import { check } from "./fetch.js";
import { Frames } from "./frames.js";
import { program, texture } from "./pass.js";
import { points } from "./shaders.js";

export class Picture {
  cells = 0;
  dim = 0;
  lit = -1; // the code that is lit up
  size = 1; // of points, beside what suits their number
  ratio = 1; // pixels of the canvas in one of the page's
  hiding = false; // some categories
  version = 0; // of what all panels share
  /** @type {Column | null} */ group = null;
  /** @type {Uint8Array} */ colors = new Uint8Array(0);
  /** @type {Panel[]} */ panels = [];
  programs = [];
  /** @type {Record<"position" | "group" | "chosen", Uploaded | null>} */
  inputs = { position: null, group: null, chosen: null };
  /** Draws over the cells, in the same places. @type {((boxes: Box[]) => void) | null} */ over = null;

  /** @param {HTMLCanvasElement} canvas @param {import("./camera.js").Camera} camera */
  constructor(canvas, camera) {
    this.canvas = canvas;
    this.camera = camera;
    const gl = (this.gl = canvas.getContext("webgl2", { antialias: false, depth: false, preserveDrawingBuffer: true }));
    check(gl, "This browser has no WebGL2, with which the cells are drawn. A current Firefox, Chrome, Edge or Safari has it, unless graphics acceleration is switched off.");
    this.groups = texture(gl);
    this.frames = new Frames(this);
    this.setGroupColors(new Uint8Array(4).fill(255));
  }

  /** The program that draws points. */
  points(round) {
    return (this.programs[Number(round)] ??= program(this.gl, points(round), ["position", "value", "group", "chosen"]));
  }

  setPoints(positions, dim) {
    this.cells = positions.length / dim;
    this.dim = dim;
    this.put("position", positions);
  }

  /** The field that hides cells and, in a panel without numbers, colors them. */
  setGroup(column) {
    if (column !== this.group) this.put("group", (this.group = column)?.codes);
  }

  /** Fade cells outside a selection: a byte a cell, 1 inside. */
  setMask(mask) {
    this.put("chosen", mask);
  }

  /** @param {((boxes: Box[]) => void) | null} over */
  setOver(over) {
    this.over = over;
    this.version++;
    this.draw();
  }

  /** Red, green, blue and 255 (128: behind others, 0: hidden) for each code. */
  setGroupColors(rgba) {
    if (rgba.length === this.colors.length && rgba.every((part, i) => part === this.colors[i])) return;
    this.colors = rgba;
    this.hiding = rgba.some((part, i) => i % 4 === 3 && !part);
    this.version++;
    this.write(this.groups, rgba);
  }

  /** The same for the i-th panel, when its column is one of categories. */
  setNames(i, rgba) {
    this.write(this.panels[i].ramp, rgba);
  }

  write(into, rgba) {
    const { gl } = this, rows = Math.ceil(rgba.length / 1024), texels = new Uint8Array(rows * 1024);
    texels.set(rgba);
    gl.bindTexture(gl.TEXTURE_2D, into);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, rows, 0, gl.RGBA, gl.UNSIGNED_BYTE, texels);
    this.draw();
  }

  /** What the i-th panel shows: a column, or the groups' colors. */
  setPanel(i, column) {
    if (this.panels[i] && this.panels[i].of === column) return;
    const panel = (this.panels[i] ??= { of: null, column: null, named: false, ramp: texture(this.gl), range: [0, 1, NaN], middle: 0, ground: null, few: null });
    panel.of = column;
    panel.column = this.upload(column?.codes, panel.column);
    panel.named = column?.kind === "category";
    if (panel.named) panel.ground = null;
    this.draw();
  }

  /** Codes at both ends of the map and the missing code; the map's 256 colors, and whether they tell most in its
   * middle (0.5) or its low end (0). @param {Uint8Array} ramp @param {Summary} summary */
  setScale(i, range, ramp, middle, summary) {
    const { gl } = this, { gaps, few } = summary, panel = this.panels[i];
    if (panel.few?.of !== few) {
      this.upload(null, panel.few);
      panel.few = few && { ...this.upload(few.cells, null, gl.ELEMENT_ARRAY_BUFFER), of: few };
    }
    Object.assign(panel, { range, middle, ground: gaps || middle ? null : [...ramp.subarray(0, 3)] });
    gl.bindTexture(gl.TEXTURE_2D, panel.ramp);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, ramp);
    this.draw();
  }

  /** @param {number} count of panels to keep */
  keepPanels(count) {
    for (const { column, few, ramp } of this.panels.splice(count)) {
      this.upload(null, column);
      this.upload(null, few);
      this.gl.deleteTexture(ramp);
    }
    this.draw();
  }

  put(name, data) {
    this.inputs[name] = this.upload(data, this.inputs[name]);
    this.version++;
    this.draw();
  }

  /** @param {any} data @param {Uploaded | null} old in whose place it comes @param {number} target @returns {Uploaded | null} */
  upload(data, old, target = this.gl.ARRAY_BUFFER) {
    const { gl } = this;
    if (old) gl.deleteBuffer(old.buffer);
    if (!data) return null;
    const buffer = gl.createBuffer(), bytes = data.BYTES_PER_ELEMENT;
    gl.bindBuffer(target, buffer);
    gl.bufferData(target, data, gl.STATIC_DRAW);
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
    this.frames.begin(moving);
  }

  /** @returns {Promise<void>} when all that was asked for is on the screen */
  drawn() {
    return this.frames.drawn();
  }
}
