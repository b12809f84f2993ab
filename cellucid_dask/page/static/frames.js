// When the picture is drawn, and in what steps.
//
// Large data is drawn in passes, each of every k-th cell (no copy: a longer stride): one pass is enough
// while the camera moves, all are added up when it rests. And most cells have not the gene one looks at:
// the picture of all cells in the lowest color is kept, and for another gene only the cells that have
// it are drawn, over that. The result is the same as if all were drawn.

import { theme } from "./colors.js";
import { ALL, BEFORE, GROUND, drawPass, listed } from "./pass.js";

const PASS_MS = 40; // a pass should take about this long
const SHOW_MS = 400; // how long the old picture may stay until the new one is whole
const SMOOTH = 1e5; // up to so many cells have smooth edges, which cost more than they show on small points

export class Frames {
  layer = ALL;
  pass = 0;
  passes = 0; // 0: to be begun
  perPass = [3e5, 3e5, 1e6]; // cells, of each layer; learnt from how long passes take
  moving = false;
  asked = false;
  /** @type {WebGLSync | null} */ fence = null;
  kept = ""; // what the kept ground is of
  size = "";
  waiting = [];

  /** @param {import("./picture.js").Picture} picture */
  constructor(picture) {
    const { gl } = (this.picture = picture);
    const target = () => ({ frame: gl.createFramebuffer(), color: gl.createRenderbuffer(), depth: gl.createRenderbuffer() });
    this.target = target();
    this.ground = target();
  }

  begin(moving) {
    this.passes = 0;
    this.moving = moving;
    this.schedule();
  }

  drawn() {
    this.schedule();
    return new Promise((done) => this.waiting.push(done));
  }

  schedule() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.step();
    });
  }

  /** One pass, unless the card is still busy with the last. */
  step() {
    const { picture, fence } = this, { gl, cells, panels, canvas: { width, height } } = picture;
    if (fence) {
      if (gl.clientWaitSync(fence, 0, 0) === gl.TIMEOUT_EXPIRED) return this.schedule();
      gl.deleteSync(fence);
      this.fence = null;
      const ms = performance.now() - this.sent, by = ms > PASS_MS * 1.5 ? 0.7 : ms < PASS_MS * 0.7 ? 1.4 : 1;
      this.perPass[this.layer] = Math.min(2e7, Math.max(1e5, this.perPass[this.layer] * by));
    }
    this.prepare(width, height);
    const whole = this.passes && this.pass === this.passes;
    if (!cells || !panels.length || (whole && this.layer !== GROUND)) {
      for (const done of this.waiting.splice(0)) done();
      return;
    }
    if (!this.passes) this.start();
    else if (whole) {
      this.copy(this.target, this.ground);
      this.kept = this.wanted;
      this.next(BEFORE);
    }
    drawPass(picture, this.pass++, this.passes, this.layer);
    const now = performance.now();
    if (this.moving || (this.pass === this.passes && this.layer !== GROUND) || now - this.shown > SHOW_MS) {
      this.copy(this.target, null);
      this.shown = now;
    }
    this.fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    this.sent = now;
    this.schedule();
  }

  /** Begin a picture: with all cells, or with the ground, or on the one that is kept. */
  start() {
    const { picture } = this, { gl, camera, lit, inputs, panels, canvas } = picture;
    this.shown = performance.now();
    const [r, g, b] = theme().background;
    gl.clearColor(r / 255, g / 255, b / 255, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const plain = lit < 0 && !inputs.chosen;
    const can = !this.moving && picture.cells > SMOOTH && panels.every(({ column, ground }) => (plain ? column && ground : !column));
    this.wanted = JSON.stringify([picture.version, picture.size, plain, canvas.width, canvas.height, r, [...camera.matrix(canvas.width, canvas.height)], panels.map(({ ground }) => plain && ground)]);
    if (can && this.kept === this.wanted) this.copy(this.ground, this.target);
    this.next(!can ? ALL : this.kept === this.wanted ? BEFORE : GROUND);
  }

  next(layer) {
    const { gl, cells, dim, panels } = this.picture;
    this.layer = layer;
    const most = Math.floor(255 / (4 * dim)); // WebGL's longest stride
    const all = panels.reduce((sum, panel) => sum + (listed(panel, layer)?.of.cells.length ?? cells), 0);
    this.passes = Math.max(1, Math.min(most, Math.ceil(all / this.perPass[layer])));
    this.pass = 0;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target.frame);
    gl.clear(gl.DEPTH_BUFFER_BIT);
  }

  /** @param {{frame: WebGLFramebuffer}} from @param {{frame: WebGLFramebuffer} | null} to null: the screen */
  copy(from, to) {
    const { gl, canvas: { width, height } } = this.picture;
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, from.frame);
    gl.bindFramebuffer(gl.DRAW_FRAMEBUFFER, to?.frame ?? null);
    gl.blitFramebuffer(0, 0, width, height, 0, 0, width, height, gl.COLOR_BUFFER_BIT, gl.NEAREST);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target.frame);
  }

  /** Somewhere to draw, of the canvas's size. */
  prepare(width, height) {
    const { gl, cells } = this.picture, samples = cells > SMOOTH ? 0 : 4;
    this.smoothly = samples > 0;
    const size = `${width} ${height} ${samples}`;
    if (this.size === size) return gl.bindFramebuffer(gl.FRAMEBUFFER, this.target.frame);
    this.size = size;
    this.kept = "";
    this.passes = 0;
    for (const { frame, color, depth } of [this.ground, this.target]) {
      gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
      for (const [buffer, format, slot] of [[color, gl.RGBA8, gl.COLOR_ATTACHMENT0], [depth, gl.DEPTH_COMPONENT24, gl.DEPTH_ATTACHMENT]]) {
        gl.bindRenderbuffer(gl.RENDERBUFFER, buffer);
        gl.renderbufferStorageMultisample(gl.RENDERBUFFER, samples, /** @type {number} */ (format), width, height);
        gl.framebufferRenderbuffer(gl.FRAMEBUFFER, /** @type {number} */ (slot), gl.RENDERBUFFER, buffer);
      }
    }
  }
}
