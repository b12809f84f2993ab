// The camera: what part of the embedding is seen, from where. One camera serves 1D, 2D and 3D.

const HOME = { x: 0, y: 0, zoom: 1, yaw: 0.6, pitch: 0.35 };
const MARGIN = 0.9;
const DISTANCE = 4; // of the eye in 3D, in half sizes of the data

export class Camera {
  constructor() {
    this.dim = 2;
    Object.assign(this, HOME);
    this.x = this.y = 0; // the middle of the screen, in the data's units, after turning
    this.zoom = 1;
    this.yaw = HOME.yaw;
    this.pitch = HOME.pitch;
  }

  fit() {
    Object.assign(this, HOME);
  }

  /** Screen units for one unit of data. @param {number} width @param {number} height @returns {[number, number]} */
  scale(width, height) {
    const size = MARGIN * this.zoom * Math.min(width, height) * (this.dim === 3 ? 0.8 : 1);
    // One dimension has the whole width.
    return this.dim === 1 ? [MARGIN * this.zoom, size / height] : [size / width, size / height];
  }

  /** @param {number} width @param {number} height of the panel, in pixels */
  matrix(width, height) {
    const [sx, sy] = this.scale(width, height);
    const deep = this.dim === 3;
    const [cy, sY, cp, sp] = deep
      ? [Math.cos(this.yaw), Math.sin(this.yaw), Math.cos(this.pitch), Math.sin(this.pitch)]
      : [1, 0, 1, 0];
    // Turn about the upright axis, then tip towards the eye; z comes out of the screen.
    const right = [cy, 0, -sY], up = [-sp * sY, cp, -sp * cy], out = [cp * sY, sp, cp * cy];
    const m = new Float32Array(16);
    for (let i = 0; i < 3; i++) {
      m[i * 4] = sx * right[i];
      m[i * 4 + 1] = sy * up[i];
      m[i * 4 + 2] = deep ? -0.3 * out[i] : 0;
      m[i * 4 + 3] = deep ? -out[i] / DISTANCE : 0;
    }
    m[12] = -sx * this.x;
    m[13] = -sy * this.y;
    m[15] = 1;
    return m;
  }

  /** Move by a part of the screen (1 is half of it). @param {number} dx @param {number} dy @param {number} width @param {number} height */
  pan(dx, dy, width, height) {
    const [sx, sy] = this.scale(width, height);
    const keep = (/** @type {number} */ at) => Math.min(2, Math.max(-2, at));
    this.x = keep(this.x - dx / sx);
    this.y = keep(this.y - dy / sy);
  }

  /** Zoom so that what is under the pointer stays there. @param {number} factor @param {number} px @param {number} py @param {number} width @param {number} height */
  zoomBy(factor, px, py, width, height) {
    const zoom = Math.min(2000, Math.max(0.2, this.zoom * factor));
    const [sx, sy] = this.scale(width, height);
    const kept = 1 - this.zoom / zoom;
    this.x += (px / sx) * kept;
    this.y += (py / sy) * kept;
    this.zoom = zoom;
  }

  /** @param {number} dx @param {number} dy in radians */
  orbit(dx, dy) {
    this.yaw += dx;
    this.pitch = Math.min(Math.PI / 2, Math.max(-Math.PI / 2, this.pitch + dy));
  }

  /** For the address; nothing when all is seen from the front. */
  toString() {
    const all = [this.x, this.y, this.zoom, this.yaw, this.pitch];
    const home = Object.values(HOME);
    const used = this.dim === 3 ? 5 : 3;
    if (all.slice(0, used).every((value, i) => Math.abs(value - home[i]) < 1e-4)) return "";
    return all.slice(0, used).map((value) => +value.toPrecision(4)).join(",");
  }

  /** @param {string} text */
  read(text) {
    this.fit();
    const all = text.split(",").map(Number);
    if (all.length < 3 || !all.every(Number.isFinite)) return;
    const [x, y, zoom, yaw = HOME.yaw, pitch = HOME.pitch] = all;
    Object.assign(this, { x, y, zoom: Math.min(2000, Math.max(0.2, zoom)), yaw, pitch });
  }
}
