// What is selected: how many cells, of which categories, and the values that color the picture inside and outside.

import { button, make, number, short } from "./dom.js";
import { csv, keep, table } from "./plot.js";

const WAYS = { new: ["New", "A new selection"], add: ["Add", "Add to the selection (Shift)"], cut: ["Take away", "Take away from the selection (Alt)"] };

/** @param {App} app */
export function create(app) {
  const { data, state, view, stats } = app;
  const ways = Object.entries(WAYS).map(([how, [text, title]]) => button(text, title, () => mark(how)));
  const clear = button("Clear", "Select nothing (Escape)", () => state.set({ lasso: [] })), body = make("div", { role: "status" });
  const element = make("div", {}, make("div", { className: "row" }, ...ways, clear), body);
  const mark = (how) => {
    app.selecting = how;
    ways.forEach((way, i) => (way.ariaPressed = String(Object.keys(WAYS)[i] === how)));
  };
  mark(app.selecting);
  const percent = (part, whole) => `${short(whole ? (100 * part) / whole : 0)} %`;

  /** @param {import("./analysis.js").Compared} about */
  async function update({ by, group, hidden, rows, names }) {
    const turn = view.turn, { colour } = view.shown, { lasso } = state.view;
    clear.hidden = !lasso.length;
    if (!lasso.length) return body.replaceChildren(make("p", { textContent: "Nothing is selected. Choose Select above the picture, then draw around cells." }));
    const [measured, { whole, inside }] = await Promise.all([
      colour && stats.ask("measure", { column: colour, group, hidden, whole: true }), stats.ask("selected", { by, group, hidden })]);
    if (turn !== view.turn) return;
    const sum = (counts) => counts.reduce((all, count) => all + count, 0), total = sum(inside);

    const id = data.identity.id, path = data.identity.cell_ids;
    const save = button("CSV of cells", path ? "Numbers and names of the selected cells" : "Numbers of the selected cells: rows of the data set, from 0", async () => {
      const { base, token } = data.folder;
      const text = await stats.ask("selectedCells", { base, token, path, group, hidden }).catch(app.fail);
      if (text) keep(`${id}-selection.csv`, text, "text/csv");
    });
    body.replaceChildren(make("h2", { textContent: `${number(total)} of ${number(sum(whole))} cells` }), make("div", { className: "row" }, save));
    if (measured) {
      const row = (name, { n, mean, median, above }) => [name, number(n), short(mean), short(median), percent(above, n)];
      body.append(table([colour.label, "values", "mean", "median", "above 0"], [row("inside", measured.groups[0]), row("outside", measured.groups[1])], "Values", true));
    }
    if (!by) return;
    const found = rows.filter((i) => inside[i]).sort((a, b) => inside[b] - inside[a]);
    const lines = found.map((i) => [names[i], inside[i], inside[i] / total, inside[i] / whole[i]]);
    body.append(table([by.key, "cells", "of selection", "of category"], lines.map(([name, count, ...shares]) => [name, number(count), ...shares.map((one) => percent(one, 1))]), "Categories", true),
      button("CSV of categories", "Save this table as CSV", () => keep(`${id}-selection-by-${by.key}.csv`, csv([[by.key, "cells", "share of selection", "share of category"], ...lines.map((line) => line.map(String))]), "text/csv")));
  }

  return { element, update };
}
