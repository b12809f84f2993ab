// What the plots share: SVG elements, ticks, and files to keep. A plot is styled by attributes alone,
// so that its file looks the same elsewhere.

import { css, theme } from "./colours.js";
import { button, make } from "./dom.js";

const SPACE = "http://www.w3.org/2000/svg";
const FONT = { family: "system-ui, sans-serif", size: 11 };
const ruler = make("canvas").getContext("2d");

/** @param {string} tag @param {Record<string, any>} about @returns {any} */
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
export const sheet = (width, height, label, ...children) =>
  svg("svg", { xmlns: SPACE, width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, "font-family": FONT.family, "font-size": FONT.size, fill: css(theme().ink) }, ...children);

/** Text that is cut to a width; whole in its title. */
export function words(text, x, y, width = Infinity, about = {}) {
  let cut = text;
  ruler.font = `${FONT.size}px ${FONT.family}`;
  while (ruler.measureText(cut).width > width) cut = `${cut.slice(0, -2)}…`;
  return svg("text", { x, y, ...about }, cut, svg("title", {}, text));
}

/** Round values from low to high. */
export function ticks(low, high, about = 4) {
  const rough = (high - low) / about || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((by) => by * power).find((by) => by >= rough * 0.999);
  const out = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) out.push(+(i * step).toPrecision(6));
  return out;
}

/** A table that is folded away. @param {string[]} head @param {any[][]} rows */
export const table = (head, rows, title = "Numbers", open = false) =>
  make("details", { open }, make("summary", { textContent: title }),
    make("table", {}, make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col", textContent: text })))),
      make("tbody", {}, ...rows.map(([name, ...cells]) => make("tr", {}, make("th", { scope: "row", textContent: name }), ...cells.map((text) => make("td", { textContent: text })))))));

/** Have the browser keep a file. @param {BlobPart} content */
export function keep(name, content, type) {
  const link = make("a", { href: URL.createObjectURL(new Blob([content], { type })), download: name.replace(/[^\w.-]+/g, "_") });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** @param {any[][]} rows */
export const csv = (rows) => rows.map((row) => row.map((one) => (/[",\n\r]/.test(one) ? `"${one.replaceAll('"', '""')}"` : one)).join(",")).join("\n") + "\n";

/** Buttons that keep a plot. @param {string} name @param {() => any[][]} rows @param {() => SVGElement} drawn */
export function keepers(name, rows, drawn) {
  const text = () => {
    const copy = /** @type {any} */ (drawn().cloneNode(true));
    copy.prepend(svg("rect", { width: "100%", height: "100%", fill: css(theme().background) }));
    return new XMLSerializer().serializeToString(copy);
  };
  async function png() {
    const image = new Image(), { width, height } = /** @type {any} */ (drawn()).viewBox.baseVal;
    image.src = URL.createObjectURL(new Blob([text()], { type: "image/svg+xml" }));
    await image.decode();
    const canvas = make("canvas", { width: width * 2, height: height * 2 });
    canvas.getContext("2d").drawImage(image, 0, 0, width * 2, height * 2);
    URL.revokeObjectURL(image.src);
    canvas.toBlob((blob) => keep(`${name}.png`, blob, "image/png"));
  }
  return make("div", { className: "row" },
    button("CSV", "Save the numbers as CSV", () => keep(`${name}.csv`, csv(rows()), "text/csv")),
    button("SVG", "Save the plot as SVG", () => keep(`${name}.svg`, text(), "image/svg+xml")),
    button("PNG", "Save the plot as PNG", png));
}
