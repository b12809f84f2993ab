// How the values that color the picture are spread over the categories of a field: violins or boxes.

import { categoryColor, css, theme } from "./colors.js";
import { button, make, number, short } from "./dom.js";
import { circle, numbers, sheet, svg, ticks, words } from "./plot.js";

const MOST = 200; // rows drawn; the table has them all
const ROW = 30, LEFT = 118, RIGHT = 252, WIDTH = 358;

/** @param {App} app */
export function create({ data, state, view }) {
  const toggle = (text, title, key) => button(text, title, () => state.set({ [key]: !state.view[key] }));
  const boxes = toggle("Boxes", "Boxes: quartiles, with whiskers to the last value within 1.5 times their distance", "box");
  const ranked = toggle("By mean", "Sort the categories by their mean", "ranked");
  const title = make("h2"), plot = make("div"), note = make("p");
  const element = make("div", {}, title, make("div", { className: "row" }, boxes, ranked), plot, note);

  /** @param {Compared} about */
  async function update({ by, rows, names, measure }) {
    const { color } = view.shown, { turn } = view, { box } = state.view;
    boxes.ariaPressed = String(box);
    ranked.ariaPressed = String(state.view.ranked);
    title.textContent = color && by ? `${color.label} by ${by.key}` : "";
    note.textContent = by ? "Color by a gene or a field of numbers to see how its values are spread." : "This data set has no field of categories.";
    if (!color || !by) return plot.replaceChildren();
    const { groups, min, max } = await measure(color, true);
    if (turn !== view.turn) return;

    const shown = rows.filter((i) => groups[i].n);
    if (state.view.ranked) shown.sort((a, b) => groups[b].mean - groups[a].mean);
    const drawn = draw(shown.slice(0, MOST), groups, names, min, max > min ? max : min + 1, box, title.textContent);
    const part = (get) => /** @type {[(i: number) => number, typeof short]} */ ([(i) => get(groups[i]), short]);
    plot.replaceChildren(drawn, ...numbers(`${data.identity.id}-${color.key}-by-${by.key}`, "Numbers", shown, {
      category: [(i) => names[i]],
      cells: [(i) => groups[i].cells, number],
      missing: [(i) => groups[i].cells - groups[i].n, number],
      mean: part(({ mean }) => mean),
      q1: part(({ quartiles }) => quartiles[0]),
      median: part(({ quartiles }) => quartiles[1]),
      q3: part(({ quartiles }) => quartiles[2]),
      "share > 0": [(i) => groups[i].above / groups[i].n, percent],
    }, drawn));
    const half = color.top ? ` One under ${short((max - min) / color.top / 2)}, half a step of its ${color.top > 254 ? 16 : 8} bits, is read as 0.` : "";
    note.textContent = min < 0 ? "Some values are below 0, so they are centered or scaled: how many are above says little about who expresses."
      : `> 0: cells ${color.kind === "gene" ? "that express, which have" : "with"} a value above 0.${min ? "" : half}`;
    if (shown.length > MOST) note.textContent += ` ${number(shown.length - MOST)} more categories are in the table.`;
  }

  return { element, update };
}

const percent = (share) => `${short(100 * share)} %`;

/** @param {number[]} shown @param {Group[]} groups @param {string[]} names */
function draw(shown, groups, names, min, max, boxes, label) {
  const height = ROW * shown.length + 44, line = { stroke: css(theme().ink), fill: "none" };
  const x = (value) => +(LEFT + ((value - min) / (max - min)) * (RIGHT - LEFT)).toFixed(1);
  const out = sheet(WIDTH, height, `${label}: ${shown.length} categories, in the table below`);
  for (const tick of ticks(min, max)) {
    out.append(svg("path", { d: `M${x(tick)} 20V${height - 20}`, ...line, "stroke-opacity": 0.15 }), words(short(tick), x(tick), height - 6, "middle"));
  }
  out.append(words("mean", RIGHT + 50, 12), words("> 0", WIDTH - 2, 12));
  shown.forEach((i, at) => {
    const y = 20 + ROW * (at + 0.5), group = groups[i], { quartiles: [q1, median, q3], whiskers, mean, above, n } = group;
    const fill = css(i < names.length - 1 ? categoryColor(i) : theme().missing), path = (d, width = 1) => svg("path", { d, ...line, "stroke-width": width });
    out.append(svg("g", {}, words(names[i], LEFT - 8, y + 4, "end", LEFT - 8),
      ...(boxes ? [path(`M${x(whiskers[0])} ${y}H${x(whiskers[1])}`), svg("path", { d: `M${x(q1)} ${y - 8}H${x(q3)}v16H${x(q1)}z`, ...line, fill })]
        : [svg("path", { d: outline(group, x, min, max, y), fill, stroke: fill }), path(`M${x(q1)} ${y}H${x(q3)}`, 3)]),
      path(`M${x(median)} ${y - 8}v16`, 2), circle(x(mean), y, 3.5, css(theme().background)),
      words(short(mean), RIGHT + 50, y + 4), words(percent(above / n), WIDTH - 2, y + 4)));
  });
  return out;
}

/** A violin: the bins smoothed by a bell as wide as Scott's rule says, but not beyond the lowest and highest value.
 * @param {Group} group @param {(value: number) => number} x */
function outline({ bins, n }, x, min, max, y) {
  const used = [...bins.keys()].filter((i) => bins[i]), from = used[0], to = used[used.length - 1];
  const sum = (/** @type {(bin: number) => number} */ of) => used.reduce((all, i) => all + bins[i] * of(i), 0);
  const mean = sum((i) => i) / n, wide = Math.max(1, Math.sqrt(sum((i) => (i - mean) ** 2) / n) * n ** -0.2);
  const places = Array.from({ length: 65 }, (_, k) => from + ((to - from) * k) / 64);
  const tall = places.map((place) => sum((i) => Math.exp(-0.5 * ((place - i) / wide) ** 2))), scale = (0.45 * ROW) / Math.max(...tall);
  const edge = (side) => places.map((place, k) => `${x(min + (place / (bins.length - 1)) * (max - min))} ${(y + side * scale * tall[k]).toFixed(1)}`);
  return `M${edge(-1).join("L")}L${edge(1).reverse().join("L")}Z`;
}
