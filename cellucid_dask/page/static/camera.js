// The camera: what part of the embedding is seen, from where. One serves 1D, 2D and 3D.

const HOME = { x: 0, y: 0, zoom: 1, yaw: 0.6, pitch: 0.35 };
const MARGIN = 0.9;
const DISTANCE = 4; // of the eye in 3D, in half sizes of the data

const limit = (value, low, high) => Math.min(high, Math.max(low, value));

export class Camera {
  dim = 2;
  x = 0; // the middle of the screen, in the data's units, after turning
  y = 0;
  zoom = 1;
  yaw = HOME.yaw;
  pitch = HOME.pitch;

  fit() {
    Object.assign(this, HOME);
  }

  /** Screen units for one unit of data, in a panel of so many pixels. */
  scale(width, height) {
    const size = MARGIN * this.zoom * Math.min(width, height) * (this.dim === 3 ? 0.8 : 1);
    return [this.dim === 1 ? MARGIN * this.zoom : size / width, size / height]; // one dimension has the whole width
  }

  matrix(width, height) {
    const [sx, sy] = this.scale(width, height);
    const deep = this.dim === 3;
    const [yaw, pitch] = deep ? [this.yaw, this.pitch] : [0, 0];
    const cy = Math.cos(yaw), ny = Math.sin(yaw), cp = Math.cos(pitch), np = Math.sin(pitch);
    // Turn about the upright axis, then tip towards the eye; z comes out of the screen.
    const right = [cy, 0, ny], up = [np * ny, cp, -np * cy], out = [-cp * ny, np, cp * cy];
    const m = new Float32Array(16);
    for (let i = 0; i < 3; i++) m.set([sx * right[i], sy * up[i], deep ? -0.3 * out[i] : 0, deep ? -out[i] / DISTANCE : 0], i * 4);
    m.set([-sx * this.x, -sy * this.y, 0, 1], 12);
    return m;
  }

  /** Move by parts of half the screen. */
  pan(dx, dy, width, height) {
    const [sx, sy] = this.scale(width, height);
    this.x = limit(this.x - dx / sx, -2, 2);
    this.y = limit(this.y - dy / sy, -2, 2);
  }

  /** Zoom so that what is at this place of the screen stays there. */
  zoomBy(factor, px, py, width, height) {
    const zoom = limit(this.zoom * factor, 0.2, 2000);
    const [sx, sy] = this.scale(width, height);
    this.x += (px / sx) * (1 - this.zoom / zoom);
    this.y += (py / sy) * (1 - this.zoom / zoom);
    this.zoom = zoom;
  }

  /** Turn, by radians. */
  orbit(dx, dy) {
    this.yaw += dx;
    this.pitch = limit(this.pitch + dy, -Math.PI / 2, Math.PI / 2);
  }

  /** For the address; nothing when all is seen from the front. */
  toString() {
    const used = Object.keys(HOME).slice(0, this.dim === 3 ? 5 : 3);
    if (used.every((key) => Math.abs(this[key] - HOME[key]) < 1e-4)) return "";
    return used.map((key) => +this[key].toPrecision(6)).join(",");
  }

  read(text) {
    this.fit();
    const all = text.split(",").map(Number);
    if (all.length < 3 || !all.every(Number.isFinite)) return;
    Object.keys(HOME).forEach((key, i) => (this[key] = all[i] ?? HOME[key]));
    this.zoom = limit(this.zoom, 0.2, 2000);
  }
}
