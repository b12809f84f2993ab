// Several genes across categories: a dot is as large as the share of cells that express the gene, and
// colored by its mean.

import { css, ramp, theme } from "./colors.js";
import { button, make, number, short } from "./dom.js";
import { findGenes } from "./names.js";
import { circle, numbers, sheet, svg, words } from "./plot.js";

const MOST = 200; // categories drawn
const MOST_GENES = 100;
const CELL = 24, LEFT = 118;

/** @param {App} app */
export function create({ data, state, view, say }) {
  const label = (gene) => data.alias(gene) ?? gene;
  const options = make("datalist", { id: "names" });
  const input = make("input", { placeholder: "CD3D, LYZ MS4A1", ariaLabel: "Genes to add", autocomplete: "off", spellcheck: false, oninput: suggest, onkeydown: (event) => event.key === "Enter" && add() });
  input.setAttribute("list", "names");
  const scaled = button("Scaled", "Colors of each gene from its lowest to its highest mean", () => state.set({ scaled: !state.view.scaled }));
  const chips = make("div", { className: "row", role: "group", ariaLabel: "Genes" }), plot = make("div"), note = make("p");
  const element = make("div", {}, make("div", { className: "row" }, input, options, button("Add", "Add these genes", add), scaled), chips, plot, note);

  /** Complete the last name. */
  function suggest() {
    const [, before, begun] = /^(.*[\s,;])?(.*)$/.exec(input.value.toLowerCase());
    const names = begun ? [...data.genes.keys()].map(label).filter((name) => name.toLowerCase().startsWith(begun)) : [];
    options.replaceChildren(...names.slice(0, 30).map((name) => make("option", { value: input.value.slice(0, before?.length) + name })));
  }

  function find(text) {
    const { found, unknown } = findGenes(data, text);
    if (unknown.length) say(`This data set has no gene “${unknown.join("”, “")}”.`);
    else if (found.length > MOST_GENES) say(`No more than ${MOST_GENES} genes are drawn.`);
    return found;
  }

  function add() {
    const found = find(input.value);
    input.value = "";
    state.set({ genes: [...new Set([...state.view.genes, ...found])] });
  }

  function remove(gene) {
    state.set({ genes: find(state.view.genes.join("\t")).filter((other) => other !== gene) });
    input.focus();
  }

  /** @param {Compared} about */
  async function update({ by, rows, names, measure }) {
    const { turn } = view, genes = find(state.view.genes.join("\t")).slice(0, MOST_GENES);
    scaled.ariaPressed = String(state.view.scaled);
    chips.replaceChildren(...genes.map((gene) => make("span", {}, button(label(gene), `Color by ${gene}`, () => view.choose("gene", gene)), button("×", `Remove ${label(gene)}`, () => remove(gene)))));
    note.textContent = by ? "Add genes by name, with commas or spaces between." : "This data set has no field of categories.";
    if (!by || !genes.length) return plot.replaceChildren();

    /** @type {Measured[]} */
    const counted = [];
    let next = 0;
    async function read() {
      while (next < genes.length && turn === view.turn) {
        const at = next++;
        note.textContent = `Reading ${next} of ${genes.length} genes …`;
        counted[at] = await measure(await data.column("gene", genes[at]));
      }
    }
    await Promise.all([read(), read(), read()]); // no more at once: each may be megabytes
    if (turn !== view.turn) return;

    const shown = rows.filter((i) => counted[0].groups[i].cells), some = shown.slice(0, MOST);
    const drawn = draw(counted.map(({ groups }) => some.map((i) => groups[i])), genes.map(label), some.map((i) => names[i]), state.view, (at) => view.choose("gene", genes[at]));
    const line = (/** @type {Group} */ group) => [group.cells, group.mean, share(group)].map(String);
    const lines = genes.flatMap((gene, g) => shown.map((i) => [gene, names[i], ...line(counted[g].groups[i])]));
    /** @type {Record<string, any>} */
    const columns = { "mean (share)": [(i) => names[i]] };
    genes.forEach((gene, g) => (columns[gene] = [(i) => counted[g].groups[i], (group) => `${short(group.mean)} (${short(100 * share(group))} %)`]));
    plot.replaceChildren(make("div", { className: "scroll" }, drawn), ...numbers(`${data.identity.id}-dots-by-${by.key}`, "Numbers", shown, columns, drawn, [["gene", "category", "cells", "mean", "share expressing"], ...lines]));
    const below = genes.filter((_, g) => counted[g].min < 0).map(label).join(", ");
    note.textContent = `Expressing: a value above 0.${below && ` Centered or scaled, with values below: ${below}.`}`;
    if (shown.length > MOST) note.textContent += ` ${number(shown.length - MOST)} more categories are in the table.`;
  }

  return { element, update };
}

const share = ({ above, n }) => (n ? above / n : 0);
const radius = (/** @type {number} */ part) => 10.5 * Math.sqrt(part);

/** @param {Group[][]} cells of each gene @param {string[]} genes @param {string[]} names */
function draw(cells, genes, names, { scaled, map }, choose) {
  const top = Math.min(110, 16 + 7 * Math.max(...genes.map(({ length }) => length))), bottom = top + CELL * names.length;
  const out = sheet(Math.max(LEFT + CELL * genes.length + 8, 330), bottom + 58, `Dot plot of ${genes.length} genes in ${names.length} categories; numbers in the table below`);
  const colors = ramp(map), color = (part) => css(colors.subarray(Math.round(part * 255) * 4)), rim = { "stroke-opacity": 0.35 };
  const means = cells.map((column) => column.map(({ mean }) => mean).filter(Number.isFinite));
  const whole = [Math.min(0, ...means.flat()), Math.max(...means.flat())];
  names.forEach((name, row) => out.append(words(name, LEFT - 6, top + CELL * (row + 0.5) + 4, "end", LEFT - 8)));
  cells.forEach((column, g) => {
    const x = LEFT + CELL * (g + 0.5), [low, high] = scaled ? [Math.min(...means[g]), Math.max(...means[g])] : whole;
    const one = svg("g", { cursor: "pointer", onclick: () => choose(g) }, words(genes[g], 0, 0, "start", top - 8, { transform: `translate(${x + 4} ${top - 6}) rotate(-90)` }));
    column.forEach((group, row) => {
      const y = top + CELL * (row + 0.5), part = high > low ? (group.mean - low) / (high - low) : 0;
      one.append(svg("g", {}, svg("title", {}, `${genes[g]} in ${names[row]}: mean ${short(group.mean)}, ${short(100 * share(group))} % of ${number(group.cells)} cells express it`),
        svg("rect", { x: x - CELL / 2, y: y - CELL / 2, width: CELL, height: CELL, "fill-opacity": 0 }), circle(x, y, radius(share(group)), color(group.n && part), rim)));
    });
    out.append(one);
  });
  [0.1, 0.25, 0.5, 1].forEach((part, i) => out.append(circle(20 + 34 * i, bottom + 24, radius(part), css(theme().missing), rim), words(`${part * 100} %`, 20 + 34 * i, bottom + 50, "middle")));
  for (let i = 0; i < 32; i++) out.append(svg("rect", { x: 175 + 4 * i, y: bottom + 18, width: 4.5, height: 12, fill: color(i / 31) }));
  const [low, high] = scaled ? ["lowest", "highest"] : whole.map(short);
  out.append(words(low, 175, bottom + 44, "start"), words("mean", 239, bottom + 44, "middle"), words(high, 303, bottom + 44));
  return out;
}
