// How the values that color the picture are spread over the categories of a field: violins or boxes.

import { categoryColour, css, theme } from "./colours.js";
import { button, make, number, short } from "./dom.js";
import { keepers, sheet, svg, table, ticks, words } from "./plot.js";

const MOST = 200; // rows drawn; the table and the CSV have them all
const ROW = 30, LEFT = 118, RIGHT = 252, WIDTH = 358;

/** @param {App} app */
export function create({ data, state, view, stats }) {
  const toggle = (text, title, key) => button(text, title, () => state.set({ [key]: !state.view[key] }));
  const boxes = toggle("Boxes", "Boxes: quartiles, with whiskers to the last value within 1.5 times their distance", "box");
  const ranked = toggle("By mean", "Sort the categories by their mean", "ranked");
  const title = make("h2"), plot = make("div", { className: "scroll" }), note = make("p");
  const element = make("div", {}, title, make("div", { className: "row" }, boxes, ranked), plot, note);
  let known = "", measured = /** @type {Measured} */ (null);

  /** @param {import("./analysis.js").Compared} about */
  async function update({ by, group, hidden, rows, names }) {
    const { colour } = view.shown, turn = view.turn;
    boxes.ariaPressed = String(state.view.box);
    ranked.ariaPressed = String(state.view.ranked);
    title.textContent = colour ? `${colour.label}${by ? ` by ${by.key}` : ""}` : "";
    note.textContent = !colour ? "Color by a gene or a field of numbers to see how its values are spread." : by ? "" : "This data set has no field of categories to compare.";
    plot.replaceChildren();
    if (!colour || !by) return;
    const key = JSON.stringify([colour.id, by.id, group?.id, hidden]);
    if (key !== known) measured = await stats.ask("measure", { column: colour, by, group, hidden, whole: true });
    if (turn !== view.turn) return void (known = "");
    known = key;

    const { groups, min, max } = measured;
    let shown = rows.filter((i) => groups[i].n);
    if (state.view.ranked) shown = shown.sort((a, b) => groups[b].mean - groups[a].mean);
    const share = min < 0 || colour.kind !== "gene" ? "above 0" : "expressing";
    const drawn = draw(shown.slice(0, MOST), { groups, names, min, max, share, boxes: state.view.box, label: title.textContent });
    const head = ["category", "cells", "missing", "mean", "median", "q1", "q3", `share ${share}`];
    const exact = () => shown.map((i) => [names[i], groups[i].cells, groups[i].cells - groups[i].n, groups[i].mean, groups[i].median, groups[i].quartiles[0], groups[i].quartiles[2], groups[i].above / groups[i].n].map(String));
    const brief = shown.map((i) => [names[i], number(groups[i].cells), number(groups[i].cells - groups[i].n), short(groups[i].mean), short(groups[i].median), short(groups[i].quartiles[0]), short(groups[i].quartiles[2]), percent(groups[i])]);
    plot.append(drawn, keepers(`${data.identity.id}-${colour.key}-by-${by.key}`, () => [head, ...exact()], () => drawn), table(head, brief));
    const step = colour.top ? ` A value under ${short((max - min) / colour.top / 2)}, half a step of its ${colour.top === 254 ? 8 : 16} bits, is read as 0.` : "";
    note.textContent = colour.kind !== "gene" ? "" : min < 0
      ? "Some values are below 0, so they are centered or scaled: “above 0” says little about who expresses."
      : `Expressing: a value above 0.${min === 0 ? step : " Here every value is."}`;
    if (shown.length > MOST) note.textContent += ` ${number(shown.length - MOST)} more categories are in the table.`;
  }

  return { element, update };
}

const percent = ({ above, n }) => `${short((100 * above) / n)} %`;

/** @param {number[]} shown @param {{groups: Group[], names: string[], min: number, max: number, share: string, boxes: boolean, label: string}} about */
function draw(shown, { groups, names, min, max, share, boxes, label }) {
  const high = max > min ? max : min + 1, ink = css(theme().ink), height = ROW * shown.length + 44;
  const x = (value) => LEFT + ((value - min) / (high - min)) * (RIGHT - LEFT);
  const right = { "text-anchor": "end" }, soft = { stroke: ink, "stroke-opacity": 0.15 };
  const out = sheet(WIDTH, height, `${label}: ${shown.length} categories, in the table below`);
  for (const tick of ticks(min, high)) {
    out.append(svg("line", { x1: x(tick), x2: x(tick), y1: 20, y2: height - 20, ...soft }), words(short(tick), x(tick), height - 6, Infinity, { "text-anchor": "middle" }));
  }
  out.append(words("mean", RIGHT + 50, 12, 99, right), words("> 0", WIDTH - 2, 12, 99, right));
  shown.forEach((i, at) => {
    const y = 20 + ROW * (at + 0.5), group = groups[i], { quartiles: [q1, median, q3], whiskers, mean } = group;
    const fill = css(i < names.length - 1 ? categoryColour(i) : theme().missing), line = { stroke: ink, fill: "none" };
    const path = boxes
      ? [svg("path", { d: `M${x(whiskers[0])} ${y}H${x(whiskers[1])}`, ...line }), svg("rect", { x: x(q1), y: y - 8, width: Math.max(1, x(q3) - x(q1)), height: 16, fill, stroke: ink })]
      : [svg("path", { d: outline(group, min, high, x, y), fill, stroke: fill }), svg("path", { d: `M${x(q1)} ${y}H${x(q3)}`, ...line, "stroke-width": 3 })];
    out.append(svg("g", {}, svg("title", {}, `${names[i]}: ${number(group.cells)} cells, mean ${short(mean)}, median ${short(median)}, ${percent(group)} ${share}`),
      words(names[i], LEFT - 8, y + 4, LEFT - 8, right), ...path,
      svg("path", { d: `M${x(median)} ${y - 8}V${y + 8}`, ...line, "stroke-width": 2 }),
      svg("circle", { cx: x(mean), cy: y, r: 3.5, fill: css(theme().background), stroke: ink }),
      words(short(mean), RIGHT + 50, y + 4, 99, right), words(percent(group), WIDTH - 2, y + 4, 99, right)));
  });
  return out;
}

/** A violin: the bins smoothed by a bell as wide as Scott's rule says, but not beyond the lowest and highest value.
 * @param {Group} group */
function outline({ bins, n }, min, high, x, y) {
  const last = bins.length - 1, used = [...bins.keys()].filter((i) => bins[i]);
  const mean = used.reduce((sum, i) => sum + i * bins[i], 0) / n;
  const deviation = Math.sqrt(used.reduce((sum, i) => sum + (i - mean) ** 2 * bins[i], 0) / n);
  const wide = Math.max(1, deviation * n ** -0.2), [from, to] = [used[0], used[used.length - 1]];
  const places = Array.from({ length: 65 }, (_, k) => from + ((to - from) * k) / 64);
  const tall = places.map((place) => used.reduce((sum, i) => sum + bins[i] * Math.exp(-0.5 * ((place - i) / wide) ** 2), 0));
  const most = Math.max(...tall), half = ROW * 0.45;
  const edge = (side) => places.map((place, k) => `${x(min + (place / last) * (high - min)).toFixed(1)} ${(y + (side * half * tall[k]) / most).toFixed(1)}`);
  return `M${edge(-1).join("L")}L${edge(1).reverse().join("L")}Z`;
}
