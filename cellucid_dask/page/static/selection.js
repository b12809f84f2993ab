// What is selected: how many cells, of which categories, and the values that color the picture inside and outside.

import { button, make, number, short } from "./dom.js";
import { keep, numbers } from "./plot.js";

const WAYS = { new: ["New", "A new selection"], add: ["Add", "Add to the selection (Shift)"], cut: ["Take away", "Take away from the selection (Alt)"] };
const percent = (share) => `${short(100 * (share || 0))} %`;

/** @param {App} app */
export function create(app) {
  const { data, state, view, stats } = app, { id, cell_ids: path } = data.identity;
  const ways = Object.entries(WAYS).map(([how, [text, title]]) => button(text, title, () => mark(how)));
  const clear = button("Clear", "Select nothing (Escape)", () => state.set({ lasso: [] })), body = make("div", { role: "status" });
  const element = make("div", {}, make("div", { className: "row" }, ...ways, clear), body);
  function mark(how) {
    app.selecting = how;
    ways.forEach((way, i) => (way.ariaPressed = String(Object.keys(WAYS)[i] === how)));
  }
  mark(app.selecting);

  /** @param {Compared} about */
  async function update({ by, rows, names, cells }) {
    const { turn, shown: { color } } = view;
    clear.hidden = !state.view.lasso.length;
    if (clear.hidden) return body.replaceChildren(make("p", { textContent: "Nothing is selected. Choose Select above the picture, then draw around cells." }));
    const [measured, { whole, inside }] = await Promise.all([
      color && stats.ask("measure", { column: color, whole: true, ...cells }), stats.ask("selected", { by, ...cells })]);
    if (turn !== view.turn) return;
    const sum = (counts) => counts.reduce((all, count) => all + count, 0), total = sum(inside);
    const save = button("CSV of the cells", path ? "Their numbers and names" : "Their numbers: rows of the data set, from 0", async () => {
      const { base, token } = data.folder, names = data.cellNames();
      const text = await names.then((names) => stats.ask("selectedCells", { base, token, path, names, ...cells })).catch(app.fail);
      if (text) keep(`${id}-selection.csv`, text);
    });
    body.replaceChildren(make("h2", { textContent: `${number(total)} of ${number(sum(whole))} cells` }), make("div", { className: "row" }, save));
    if (measured) {
      body.append(...numbers(`${id}-selection-${color.key}`, "Values", measured.groups, {
        [color.label]: [(group) => (group === measured.groups[0] ? "inside" : "outside")],
        values: [({ n }) => n, number],
        mean: [({ mean }) => mean, short],
        median: [({ quartiles }) => quartiles[1], short],
        "share > 0": [({ above, n }) => above / n, percent],
      }).reverse());
    }
    if (!by) return;
    body.append(...numbers(`${id}-selection-by-${by.key}`, "Categories", rows.filter((i) => inside[i]).sort((a, b) => inside[b] - inside[a]), {
      [by.key]: [(i) => names[i]],
      cells: [(i) => inside[i], number],
      "of selection": [(i) => inside[i] / total, percent],
      "of category": [(i) => inside[i] / whole[i], percent],
    }).reverse());
  }

  return { element, update };
}
