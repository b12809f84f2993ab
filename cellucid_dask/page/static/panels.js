// Panels beside the first, each colored by a gene or field of its own; all move together.

import { css, theme } from "./colors.js";
import { button, el, make, short } from "./dom.js";
import { findGene } from "./names.js";

const MOST = 3; // beside the first

/** @param {App} app */
export function create(app, opener) {
  const { data, state, view, picture, stats, say } = app;
  const now = () => (view.shown.color ?? view.shown.group)?.id ?? "";
  let heads = /** @type {HTMLElement[]} */ ([]), titles = /** @type {string[]} */ ([]);
  const summaries = new WeakMap(), unknown = new Set();

  /** "gene/CD3D", "obs/louvain", or the bare name of either. @param {string} text @returns {["gene" | "obs", string] | null} */
  function meant(text) {
    const [, kind, key = text] = /^(gene|obs)\/(.*)$/s.exec(text) ?? [];
    const gene = kind !== "obs" && findGene(data, key);
    if (gene) return ["gene", gene];
    if (kind !== "gene" && data.fields.has(key)) return ["obs", key];
    if (!unknown.has(text)) say(`This data set has no gene or field “${key}”.`);
    unknown.add(text);
    return null;
  }

  /** Exchange a panel with the first, whose colors the bar and the legend are about. */
  function swap(i, [kind, key]) {
    const others = state.view.with.map((one, at) => (at === i ? now() : one));
    state.set({ with: others, clip: "" });
    view.choose(kind, key);
  }

  async function update() {
    const { turn } = view;
    const known = state.view.with.map((text, i) => ({ i, what: meant(text) })).filter(({ what }) => what), asked = known.slice(0, MOST);
    if (known.length > MOST && !unknown.has(known.length)) say(`No more than ${MOST + 1} panels are shown.`);
    unknown.add(known.length); // said once
    const columns = await Promise.all(asked.map(({ what }) => data.column(...what)));
    for (const column of columns) {
      if (column.kind !== "category" && !summaries.has(column)) summaries.set(column, await stats.ask("summary", { column, hidden: [] }));
    }
    if (turn !== view.turn) return;
    view.others = columns.map((column, at) => {
      const i = at + 1, summary = summaries.get(column);
      picture.setPanel(i, column);
      if (!summary) picture.setNames(i, view.groupColors(column, []));
      return { column, summary, range: summary ? view.paintPanel(i, column, summary) : [] };
    });
    if (picture.panels.length > columns.length + 1) picture.keepPanels(columns.length + 1);
    opener.disabled = columns.length === MOST;
    const { color, group, range } = view.shown, label = ({ column, range }) => [column?.label ?? "", range.map(short).join(" – ")].join("  ");
    const texts = [{ column: color ?? group, range: color ? range : [] }, ...view.others].map(label);
    if (texts.join("\n") === titles.join("\n")) return; // what has the focus keeps it
    titles = texts;
    for (const head of heads) head.remove();
    heads = !columns.length ? [] : titles.map((text, at) => {
      const { i, what } = asked[at - 1] ?? {};
      const head = make("div", { className: "head row" }, ...(at ? [
        button(text, "Exchange with the first panel, which the color bar and the legend are about", () => swap(i, what)),
        button("×", `Close the panel of ${columns[at - 1].label}`, () => state.set({ with: state.view.with.filter((_, other) => other !== i) })),
      ] : [make("strong", { textContent: text })]));
      el("stage").append(head);
      return head;
    });
    app.relabel();
  }

  app.layers.push((ctx, width, height, ratio, at) => {
    if (!heads[at]) return;
    const { x, y, w, h } = picture.layout()[at];
    Object.assign(heads[at].style, { left: `${100 * x}%`, bottom: `${100 * (1 - y - h)}%`, maxWidth: `${100 * w}%` });
    ctx.fillStyle = css(theme().ink);
    ctx.globalAlpha = 0.25;
    if (x) ctx.fillRect(0, 0, ratio, height);
    if (y) ctx.fillRect(0, 0, width, ratio);
    ctx.globalAlpha = 1;
    if (ctx.canvas.id) return; // on the page the title is a button; in a file it is text
    ctx.font = `600 ${13 * ratio}px system-ui, sans-serif`;
    Object.assign(ctx, { textAlign: "left", textBaseline: "alphabetic" });
    ctx.fillText(titles[at], 10 * ratio, height - 12 * ratio);
  });

  return { press: () => state.set({ with: [...state.view.with, now()] }), update };
}
