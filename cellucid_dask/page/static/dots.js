// Several genes across categories: a dot is as large as the share of cells that express the gene, and
// colored by its mean.

import { css, ramp, theme } from "./colours.js";
import { button, make, number, short } from "./dom.js";
import { findGenes } from "./names.js";
import { keepers, sheet, svg, table, words } from "./plot.js";

const MOST = 200; // categories drawn
const MOST_GENES = 100;
const CELL = 24, LEFT = 116;

/** @param {App} app */
export function create({ data, state, view, stats, say }) {
  const options = make("datalist", { id: "names" });
  const input = make("input", { type: "text", placeholder: "CD3D, LYZ MS4A1", ariaLabel: "Genes to add", autocomplete: "off", spellcheck: false,
    oninput: suggest, onkeydown: (event) => event.key === "Enter" && add() });
  input.setAttribute("list", "names");
  const scaled = button("Scaled", "Colors of each gene from its lowest to its highest mean", () => state.set({ scaled: !state.view.scaled }));
  const chips = make("div", { className: "row", role: "group", ariaLabel: "Genes" }), plot = make("div", { className: "scroll" }), note = make("p");
  const element = make("div", {}, make("div", { className: "row" }, input, options, button("Add", "Add these genes", add), scaled), chips, plot, note);
  /** @type {Map<string, {min: number, groups: Group[]}>} what was counted before */
  const known = new Map();

  function suggest() {
    const [, before, start] = /^(.*[\s,;])?(.*)$/.exec(input.value);
    const names = start.length ? [...data.genes.keys()].map((key) => data.alias(key) ?? key).filter((name) => name.toLowerCase().startsWith(start.toLowerCase())) : [];
    options.replaceChildren(...names.slice(0, 30).map((name) => make("option", { value: (before ?? "") + name })));
  }

  function add() {
    const { found, unknown } = findGenes(data, input.value);
    if (unknown.length) say(`This data set has no gene “${unknown.join("”, “")}”.`);
    input.value = unknown.join(" ");
    state.set({ genes: [...new Set([...state.view.genes, ...found])] });
  }

  /** @param {import("./analysis.js").Compared} about */
  async function update({ by, group, hidden, rows, names }) {
    const turn = view.turn, { found, unknown } = findGenes(data, state.view.genes.join("\t"));
    if (unknown.length) say(`This data set has no gene “${unknown.join("”, “")}”.`);
    if (found.length > MOST_GENES) say(`Only ${MOST_GENES} genes are drawn.`);
    const genes = found.slice(0, MOST_GENES), label = (gene) => data.alias(gene) ?? gene;
    scaled.ariaPressed = String(state.view.scaled);
    chips.replaceChildren(...genes.map((gene) => make("span", {}, button(label(gene), `Color by ${gene}`, () => view.choose("gene", gene)),
      button("×", `Remove ${label(gene)}`, () => state.set({ genes: genes.filter((other) => other !== gene) })))));
    note.textContent = !by ? "This data set has no field of categories to compare." : genes.length ? "" : "Add genes by name, with commas or spaces between.";
    if (!by || !genes.length) return plot.replaceChildren();

    const about = (gene) => JSON.stringify([gene, by.id, group?.id, hidden]);
    const waiting = genes.filter((gene) => !known.has(about(gene))), all = waiting.length;
    async function read() {
      for (let gene; (gene = waiting.shift()) && turn === view.turn; ) {
        note.textContent = `Reading ${all - waiting.length} of ${all} genes …`;
        const column = await data.column("gene", gene);
        known.set(about(gene), await stats.ask("measure", { column, by, group, hidden }));
      }
    }
    await Promise.all([read(), read(), read()]); // no more at once: each may be megabytes
    if (turn !== view.turn) return;
    const counted = genes.map((gene) => known.get(about(gene)));
    for (const old of [...known.keys()].slice(0, -500)) known.delete(old);

    const shown = rows.filter((i) => counted[0].groups[i].cells), some = shown.slice(0, MOST);
    const cells = counted.map(({ groups }) => some.map((i) => groups[i]));
    const drawn = draw({ cells, genes: genes.map(label), names: some.map((i) => names[i]), scaled: state.view.scaled, map: state.view.map, choose: (g) => view.choose("gene", genes[g]) });
    const long = () => [["gene", "category", "cells", "mean", "share expressing"],
      ...genes.flatMap((gene, g) => shown.map((i) => [gene, names[i], ...[counted[g].groups[i].cells, counted[g].groups[i].mean, share(counted[g].groups[i])].map(String)]))];
    const brief = shown.map((i) => [names[i], ...counted.map(({ groups }) => `${short(groups[i].mean)} (${short(100 * share(groups[i]))} %)`)]);
    plot.replaceChildren(drawn, keepers(`${data.identity.id}-dots-by-${by.key}`, long, () => drawn), table(["mean (share)", ...genes.map(label)], brief));
    const below = genes.filter((_, g) => counted[g].min < 0);
    note.textContent = `Expressing: a value above 0.${below.length ? ` ${below.map(label).join(", ")}: centered or scaled, with values below 0.` : ""}`;
    if (shown.length > MOST) note.textContent += ` ${number(shown.length - MOST)} more categories are in the table.`;
  }

  return { element, update };
}

/** @param {Group} group */
const share = ({ above, n }) => (n ? above / n : 0);
const radius = (/** @type {number} */ part) => 10.5 * Math.sqrt(part);

/** @param {{cells: Group[][], genes: string[], names: string[], scaled: boolean, map: string, choose: (gene: number) => void}} about */
function draw({ cells, genes, names, scaled, map, choose }) {
  const top = Math.min(110, 16 + 6.5 * Math.max(...genes.map(({ length }) => length))), bottom = top + CELL * names.length;
  const width = Math.max(LEFT + CELL * genes.length + 8, 330), colors = ramp(map), rim = { stroke: css(theme().ink), "stroke-opacity": 0.35 };
  const color = (part) => css(colors.subarray(Math.round(part * 255) * 4));
  const means = cells.map((column) => column.map(({ mean }) => mean).filter(Number.isFinite));
  const all = means.flat(), ends = (list, low = Infinity) => [Math.min(low, ...list), Math.max(...list)];
  const whole = ends(all, 0), out = sheet(width, bottom + 58, `Dot plot of ${genes.length} genes in ${names.length} categories; numbers in the table below`);
  names.forEach((name, row) => out.append(words(name, LEFT - 6, top + CELL * (row + 0.5) + 4, LEFT - 8, { "text-anchor": "end" })));
  cells.forEach((column, g) => {
    const x = LEFT + CELL * (g + 0.5), [low, high] = scaled ? ends(means[g]) : whole;
    const about = { cursor: "pointer", onclick: () => choose(g) };
    out.append(words(genes[g], 0, 0, top - 8, { ...about, transform: `translate(${x + 4} ${top - 6}) rotate(-90)` }));
    column.forEach((group, row) => {
      const part = high > low ? (group.mean - low) / (high - low) : 0, y = top + CELL * (row + 0.5);
      out.append(svg("g", about, svg("title", {}, `${genes[g]} in ${names[row]}: mean ${short(group.mean)}, ${short(100 * share(group))} % of ${number(group.cells)} cells express it`),
        svg("rect", { x: x - CELL / 2, y: y - CELL / 2, width: CELL, height: CELL, fill: "none", "pointer-events": "all" }),
        svg("circle", { cx: x, cy: y, r: radius(share(group)), fill: group.n ? color(part) : "none", ...rim })));
    });
  });
  [0.1, 0.25, 0.5, 1].forEach((part, i) => out.append(
    svg("circle", { cx: 20 + 34 * i, cy: bottom + 24, r: radius(part), fill: css(theme().missing), ...rim }), words(`${part * 100} %`, 20 + 34 * i, bottom + 50, Infinity, { "text-anchor": "middle" })));
  for (let i = 0; i < 32; i++) out.append(svg("rect", { x: 175 + 4 * i, y: bottom + 18, width: 4.5, height: 12, fill: color(i / 31) }));
  const [low, high] = scaled ? ["lowest", "highest"] : whole.map(short);
  out.append(words(low, 175, bottom + 44), words(scaled ? "mean" : "mean value", 239, bottom + 44, Infinity, { "text-anchor": "middle" }), words(high, 303, bottom + 44, Infinity, { "text-anchor": "end" }));
  return out;
}
