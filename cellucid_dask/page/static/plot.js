// What the plots share: SVG, tables, and files to keep. A plot is styled by attributes alone, so that its
// file looks the same elsewhere.

import { css, theme } from "./colors.js";
import { button, make } from "./dom.js";

const SPACE = "http://www.w3.org/2000/svg", FONT = "system-ui, sans-serif", SIZE = 11;
const ruler = make("canvas").getContext("2d");
/** Tables that are unfolded, by title. */
const unfolded = new Set(["Values", "Categories"]);

/** @param {Record<string, any>} about @returns {any} */
export function svg(tag, about = {}, ...children) {
  const made = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(about)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** @param {string} label for who does not see it */
export const sheet = (width, height, label) =>
  svg("svg", { xmlns: SPACE, width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, "font-family": FONT, "font-size": SIZE, fill: css(theme().ink) });

export const circle = (cx, cy, r, fill, about = {}) => svg("circle", { cx, cy, r, fill, stroke: css(theme().ink), ...about });

/** Text that ends (or begins or has its middle) at a place, cut to a width. @param {"end" | "start" | "middle"} anchor */
export function words(text, x, y, anchor = "end", width = Infinity, about = {}) {
  let cut = text;
  ruler.font = `${SIZE}px ${FONT}`;
  while (ruler.measureText(cut).width > width) cut = `${cut.slice(0, -2)}…`;
  return svg("text", { x, y, "text-anchor": anchor, ...about }, cut, svg("title", {}, text));
}

/** Round values between two. */
export function ticks(low, high) {
  const power = 10 ** Math.floor(Math.log10((high - low) / 4));
  const step = power * [1, 2, 5, 10].find((by) => by * power * 4.01 >= high - low);
  return Array.from({ length: Math.floor(high / step + 1e-9) - Math.ceil(low / step) + 1 }, (_, i) => (Math.ceil(low / step) + i) * step);
}

/** Have the browser keep a file. @param {BlobPart} content */
export function keep(name, content, type = "text/csv") {
  const link = make("a", { href: URL.createObjectURL(new Blob([content], { type })), download: name.replace(/[^\w.-]+/g, "_") });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

const csv = (rows) => rows.map((row) => row.map((one) => (/[",\n\r]/.test(one) ? `"${one.replaceAll('"', '""')}"` : one)).join(",") + "\n").join("");

/** A table that folds away, and buttons that keep it and the plot as files.
 * @template T
 * @param {string} name of the files @param {string} title @param {T[]} rows
 * @param {Record<string, [(row: T) => string | number, ((value: any) => string)?]>} columns what they hold, and how it is written for a reader
 * @param {SVGElement} drawn the plot, if any @param {string[][]} lines of the CSV, when they are not the table's */
export function numbers(name, title, rows, columns, drawn = null, lines = null) {
  const heads = Object.keys(columns), all = Object.values(columns);
  const cell = (tag, textContent, scope) => make(tag, { textContent, scope });
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads.map((head) => cell("th", head, "col")))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...all.map(([get, write = String], i) => (i ? cell("td", write(get(row))) : cell("th", write(get(row)), "row")))))));
  const details = make("details", { open: unfolded.has(title), ontoggle: () => unfolded[details.open ? "add" : "delete"](title) }, make("summary", { textContent: title }), table);
  const file = () => csv(lines ?? [heads, ...rows.map((row) => all.map(([get]) => String(get(row))))]);
  const kept = make("div", { className: "row" }, button("CSV", `${title} as CSV`, () => keep(`${name}.csv`, file())));
  if (drawn) {
    kept.append(button("SVG", "The plot as SVG", () => keep(`${name}.svg`, text(drawn), "image/svg+xml")),
      button("PNG", "The plot as PNG", async () => keep(`${name}.png`, await png(drawn), "image/png")));
  }
  return [kept, details];
}

/** @param {SVGElement} drawn */
function text(drawn) {
  const copy = /** @type {SVGElement} */ (drawn.cloneNode(true));
  copy.prepend(svg("rect", { width: "100%", height: "100%", fill: css(theme().background) }));
  return new XMLSerializer().serializeToString(copy);
}

async function png(drawn, scale = 2) {
  const { width, height } = drawn.viewBox.baseVal, image = new Image(), canvas = make("canvas", { width: width * scale, height: height * scale });
  image.src = URL.createObjectURL(new Blob([text(drawn)], { type: "image/svg+xml" }));
  await image.decode();
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise((done) => canvas.toBlob(done));
}
