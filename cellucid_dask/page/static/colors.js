// Colors: maps for numbers, which stay in order for color-blind readers; a palette for categories.

/** Stops from low to high; two rows, light and dark, where a map has a gray near the background. */
const MAPS = {
  ember: ["d9d8de f0c0a5 f58a6c e04f64 b0317b 7c2382 4a1578 1f0c48", "3d3c45 5a2a6e 872781 b73779 e05264 f8825f feb77e fcf3b5"],
  viridis: ["440154 482878 3e4a89 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725"],
  cividis: ["00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838"],
  magma: ["000004 180f3d 440f76 721f81 9e2f7f cd4071 f1605d fd9668 feca8d fcfdbf"],
  balance: ["2166ac 4393c3 92c5de d9d8de f4a582 d6604d b2182b", "7cc4ff 4a90c8 355b80 3d3c45 8a5340 cc6f4a ffa46b"],
};
export const MAP_NAMES = Object.keys(MAPS);
export const isDiverging = (name) => name === "balance";

const parse = (text) => text.split(" ").map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
const PALETTE = parse(
  "0072b2 e69f00 009e73 cc79a7 56b4e9 d55e00 8b6fd1 b5a300 882255 44aa99 8a6242 5b8c2a " +
    "f0719a 4455aa c99a5b 1fa8c0 c44e52 7d93b2 a44ac4 2e8b57 ff8f6b 6a7a3c b07aa1 3f7f93",
);

export const dark = () => matchMedia("(prefers-color-scheme: dark)").matches;
export const css = (rgb) => `rgb(${rgb[0]}, ${rgb[1]}, ${rgb[2]})`;

/** What is behind the cells, cells without a value, cells that others are lit up against, and text. */
export function theme() {
  const [background, missing, faded, ink] = parse(dark() ? "17181c 6b6d76 26272c f2f2f5" : "ffffff a5a7ae f1f1f4 1b1c20");
  return { background, missing, faded, ink };
}

/** The 256 colors of a map. */
export function ramp(name) {
  const rows = MAPS[MAP_NAMES.includes(name) ? name : "ember"];
  const stops = parse(rows[dark() ? rows.length - 1 : 0]);
  const out = new Uint8Array(256 * 4).fill(255);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    out.set(stops[low].map((part, c) => Math.round(part + (stops[low + 1][c] - part) * (at - low))), i * 4);
  }
  return out;
}

/** The color of the i-th category: after the palette, hues that keep away from those before. */
export function categoryColor(i) {
  if (i < PALETTE.length) return PALETTE[i];
  const hue = (i * 137.508) % 360, light = [0.45, 0.6, 0.72][i % 3], strength = 0.7 * Math.min(light, 1 - light);
  return [0, 8, 4].map((n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (light - strength * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}
