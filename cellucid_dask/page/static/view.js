// From the state to the picture: which columns the state means, fetched, counted and shown. Tells the
// rest of the page what is shown by the event "shown"; `View.shown` has it.

import { MAP_NAMES, categoryColor, isDiverging, ramp, theme } from "./colors.js";
import { findGene } from "./names.js";

const NAMES = [/cell.?(type|class|label)|annot/i, /label|class|type|cluster/i, /leiden|louvain/i];

/** The field a reader would want to see first. @param {Field[]} fields */
function telling(fields) {
  const rank = ({ key, kind, categories: { length } }) => {
    const at = NAMES.findIndex((name) => name.test(key));
    return kind === "number" ? 9 : length < 2 || length > 50 ? 8 : at < 0 ? 7 : at;
  };
  return fields.sort((a, b) => rank(a) - rank(b))[0]?.key ?? "";
}

export class View extends EventTarget {
  /** @type {Shown} */
  shown = { dim: 0, group: null, hidden: [], counts: null, color: null, summary: null, range: [0, 1] };
  turn = 0;
  said = "";
  /** What else is to be shown before the page is ready. @type {(() => Promise<void>)[]} */ parts = [];
  /** In panels beside the first. @type {{column: Column, summary?: Summary, range: number[]}[]} */ others = [];

  /** @param {import("./export.js").Export} data @param {import("./state.js").State} state
   * @param {import("./picture.js").Picture} picture @param {import("./stats.js").Stats} stats */
  constructor(data, state, picture, stats, say) {
    super();
    this.data = data;
    this.state = state;
    this.picture = picture;
    this.stats = stats;
    this.say = say;
  }

  /** What the state means here: names that are not in the export are said and passed over. */
  meant() {
    const { data, state: { view } } = this, wrong = [];
    const fields = [...data.fields.values()], isGroup = (key) => data.fields.get(key)?.kind === "category";
    const known = (key, has, what) => {
      if (!key || has) return key;
      wrong.push(`This data set has no ${what} “${key}”.`);
      return "";
    };
    const gene = findGene(data, view.gene) ?? known(view.gene, false, "gene");
    const obs = known(view.obs, data.fields.has(view.obs), "field") || telling(fields);
    const asked = known(view.group, isGroup(view.group), "field of categories");
    const group = !gene && isGroup(obs) ? obs : asked || (isGroup(obs) ? obs : telling(fields.filter(({ key }) => isGroup(key))));
    known(view.field, Object.hasOwn(data.identity.vector_fields?.fields ?? {}, view.field), "vector field");
    if (!MAP_NAMES.includes(view.map)) wrong.push(`There is no color map “${view.map}”.`);
    const dim = data.dims.includes(view.dim) ? view.dim : data.dim;
    if (view.dim) known(`${view.dim}D`, dim === view.dim, "embedding in");
    if (wrong.join(" ") !== this.said) this.say(wrong.join(" ")); // once, not whenever the camera moves
    this.said = wrong.join(" ");
    return { gene, obs, group, dim };
  }

  /** Show what the state says. @returns {Promise<boolean>} false when a newer wish came in between */
  async update() {
    const turn = ++this.turn;
    const { data, picture, stats, shown } = this;
    const { gene, obs, group: groupKey, dim } = this.meant();
    const [points, group, color] = await Promise.all([
      dim === picture.dim ? null : data.points(dim),
      groupKey ? data.column("obs", groupKey) : null,
      gene ? data.column("gene", gene) : data.fields.get(obs)?.kind === "number" ? data.column("obs", obs) : null,
    ]).catch((error) => {
      if (turn === this.turn) throw error; // what is wished no longer need not succeed
      return [];
    });
    if (turn !== this.turn) return false;
    const hidden = this.hiddenCodes(group), known = color === shown.color && group === shown.group && String(hidden) === String(shown.hidden);
    const summary = color && (known ? shown.summary : await stats.ask("summary", { column: color, group, hidden }));
    if (turn !== this.turn) return false;

    if (points) {
      picture.camera.dim = dim;
      picture.camera.read(this.state.view.cam);
      picture.setPoints(points, dim);
    }
    picture.setGroup(group);
    picture.setPanel(0, color);
    picture.size = Math.min(8, this.state.view.size);
    picture.setGroupColors(this.groupColors(group, hidden));
    const range = color ? this.paintPanel(0, color, summary, this.state.view.clip) : [0, 1];
    // Counted while it is drawn.
    const counts = group && (group === shown.group ? shown.counts : await stats.ask("counts", { group }));
    if (points) stats.ask("points", { points, dim }, [points.buffer]);
    if (turn !== this.turn) return false;
    this.shown = { dim, group, hidden, counts, color, summary, range };
    this.dispatchEvent(new Event("shown"));
    for (const part of this.parts) await part(); // in this order: the analysis is of what is selected
    await picture.drawn();
    return turn === this.turn;
  }

  /** Values at the ends of a panel's color map, found or asked for. @param {Column} column @param {Summary} summary */
  paintPanel(i, column, summary, asked = "") {
    const { min, max, clip } = summary, { map } = this.state.view, given = asked.split(",").map(Number);
    let [low, high] = asked && given.length === 2 && given.every(Number.isFinite) ? given : clip;
    if (!asked && isDiverging(map) && low < 0 && high > 0) low = -(high = Math.max(-low, high));
    if (low >= high) low = min;
    if (low >= high) high = low + 1;
    const code = (value) => (column.top ? +(((value - min) / (max - min || 1)) * column.top).toFixed(3) : value); // whole where it was
    this.picture.setScale(i, [code(low), code(high), column.missing], ramp(map), isDiverging(map) ? 0.5 : 0, summary);
    return [low, high];
  }

  /** @param {Column | null} group @param {number[]} hidden codes */
  groupColors(group, hidden) {
    if (!group) return new Uint8Array([...theme().missing, 255]);
    const rgba = new Uint8Array((group.missing + 1) * 4).fill(255);
    group.categories.forEach((_, i) => rgba.set(categoryColor(i), i * 4));
    rgba.set([...theme().missing, 128], group.missing * 4);
    for (const code of hidden) rgba[code * 4 + 3] = 0;
    return rgba;
  }

  /** Codes of what is to be hidden. */
  hiddenCodes(group) {
    const end = group?.categories.length ?? -1;
    return this.state.view.hide.filter((i) => i <= end).map((i) => (i === end ? group.missing : i));
  }

  /** Color by a gene or a field. */
  choose(kind, key) {
    const group = this.shown.group?.key ?? "";
    if (kind === "gene") this.state.set({ gene: key, clip: "" });
    else if (this.data.fields.get(key)?.kind === "number") this.state.set({ obs: key, gene: "", clip: "", group });
    else this.state.set({ obs: key, gene: "", clip: "", group: "", ...(key === group ? {} : { hide: [] }) });
  }

  /** Let another field hide and name cells. */
  chooseGroup(key) {
    if (this.shown.color) this.state.set({ group: key, hide: [] });
    else this.choose("obs", key);
  }
}
