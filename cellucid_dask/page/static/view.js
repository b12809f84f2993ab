// From the state to the picture: which columns the state means, fetched, counted and shown.
// Says what is shown to the rest of the page by the event "shown", whose detail is `View.shown`.

import { categoryColour, ramp, theme } from "./colours.js";

/** @typedef {import("./export.js").Column} Column */
/**
 * @typedef {object} Shown
 * @property {number} dim
 * @property {Column | null} group field of categories that hides and names cells
 * @property {Uint32Array | null} counts cells of each category; the last: cells without one
 * @property {Column | null} colour column of numbers that colours; null: the categories do
 * @property {{min: number, max: number, bins: Uint32Array, missing: number, clip: number[]} | null} summary of it
 * @property {number[]} range values at the ends of the colour map
 */

/** The field a reader would want to see first. @param {import("./export.js").Export} data */
export function telling(data, kind = "") {
  const names = [/cell.?type|cell.?(class|label)|annot/i, /label|class|type|cluster/i, /leiden|louvain/i];
  const rank = ({ key, kind: own, categories: { length } }) => {
    if (own === "number") return 9;
    const at = names.findIndex((name) => name.test(key));
    return length < 2 || length > 50 ? 8 : at < 0 ? 7 : at;
  };
  const fields = [...data.fields.values()].filter((field) => !kind || field.kind === kind);
  return fields.sort((a, b) => rank(a) - rank(b))[0]?.key ?? "";
}

export class View extends EventTarget {
  /**
   * @param {import("./export.js").Export} data @param {import("./state.js").State} state
   * @param {import("./picture.js").Picture} picture @param {import("./stats.js").Stats} stats
   * @param {(sentence: string) => void} say
   */
  constructor(data, state, picture, stats, say) {
    super();
    Object.assign(this, { data, state, picture, stats, say });
    this.data = data;
    this.state = state;
    this.picture = picture;
    this.stats = stats;
    this.say = say;
    /** @type {Shown} */
    this.shown = { dim: 0, group: null, counts: null, colour: null, summary: null, range: [0, 1] };
    this.turn = 0;
  }

  /** What the state means here: names that are not in the export are said and passed over. */
  meant() {
    const { data, say, state: { view } } = this;
    const known = (key, has, what) => {
      if (key && !has(key)) say(`This data set has no ${what} “${key}”.`);
      return key && has(key) ? key : "";
    };
    const isField = (key) => data.fields.has(key);
    const isGroup = (key) => data.fields.get(key)?.kind === "category";
    const gene = known(view.gene, (key) => data.genes.has(key), "gene");
    const obs = known(view.obs, isField, "field") || telling(data);
    const asked = known(view.group, isGroup, "field of categories");
    const group = !gene && isGroup(obs) ? obs : asked || (isGroup(obs) ? obs : telling(data, "category"));
    if (view.dim && !data.dims.includes(view.dim)) say(`This data set has no embedding in ${view.dim}D.`);
    return { gene, obs, group, dim: data.dims.includes(view.dim) ? view.dim : data.dim };
  }

  /** Show what the state says. @returns {Promise<boolean>} whether it was not overtaken by a newer wish */
  async update() {
    const turn = ++this.turn;
    const { data, picture, stats, shown } = this;
    const { gene, obs, group: groupKey, dim } = this.meant();
    const numbers = data.fields.get(obs)?.kind === "number";
    const [points, group, colour] = await Promise.all([
      dim === shown.dim ? null : data.points(dim),
      groupKey ? data.column("obs", groupKey) : null,
      gene ? data.column("gene", gene) : numbers ? data.column("obs", obs) : null,
    ]);
    if (turn !== this.turn) return false;
    const counts = !group ? null : group === shown.group ? shown.counts : await stats.ask("counts", { group });
    const summary = colour && (await stats.ask("summary", { column: colour, group, hidden: this.hiddenCodes(group) }));
    if (turn !== this.turn) return false;

    if (points) {
      picture.camera.dim = dim;
      picture.camera.read(shown.dim ? "" : this.state.view.cam);
      picture.setPoints(points, dim);
      stats.ask("points", { points, dim }, [points.buffer]);
    }
    if (group !== shown.group) picture.setGroup(group);
    if (colour !== shown.colour || !picture.panels.length) picture.setPanel(0, colour);
    this.shown = { dim, group, counts, colour, summary, range: [0, 1] };
    this.paint();
    this.dispatchEvent(new CustomEvent("shown", { detail: this.shown }));
    await picture.drawn();
    return turn === this.turn;
  }

  /** Colours anew: what a clip, another map or a hidden category changes. */
  paint() {
    const { picture, shown, state: { view } } = this;
    picture.size = view.size;
    picture.setGroupColours(this.groupColours());
    if (!shown.colour) return;
    const given = view.clip.split(",").map(Number);
    const { min, max, clip } = shown.summary;
    let [low, high] = view.clip && given.length === 2 && given.every(Number.isFinite) ? given : clip;
    if (!view.clip && view.map === "balance" && low < 0 && high > 0) low = -(high = Math.max(-low, high));
    if (low >= high) low = min;
    if (low >= high) high = low + 1;
    shown.range = [low, high];
    const { top, missing } = shown.colour;
    const code = (value) => (top ? ((value - min) / (max - min || 1)) * top : value);
    picture.setScale(0, [code(low), code(high), missing], ramp(view.map));
  }

  /** Colour of each code of the group, and which are hidden. */
  groupColours() {
    const { group } = this.shown;
    if (!group) return new Uint8Array([...theme().missing, 255]);
    const rgba = new Uint8Array((group.missing + 1) * 4).fill(255);
    group.categories.forEach((_, i) => rgba.set(categoryColour(i), i * 4));
    rgba.set([...theme().missing, 128], group.missing * 4);
    for (const code of this.hiddenCodes(group)) rgba[code * 4 + 3] = 0;
    return rgba;
  }

  /** Codes of the hidden categories; the one after the last means cells without a category. @param {Column | null} group */
  hiddenCodes(group) {
    if (!group) return [];
    const end = group.categories.length;
    return this.state.view.hide.filter((i) => i <= end).map((i) => (i === end ? group.missing : i));
  }

  /** Colour by a gene or a field. @param {"gene" | "obs"} kind @param {string} key */
  choose(kind, key) {
    const group = this.shown.group?.key ?? "";
    if (kind === "gene") this.state.set({ gene: key, clip: "" });
    else if (this.data.fields.get(key)?.kind === "number") this.state.set({ obs: key, gene: "", clip: "", group });
    else this.state.set({ obs: key, gene: "", clip: "", group: "", ...(key === group ? {} : { hide: [] }) });
  }

  /** Let another field hide and name cells. @param {string} key */
  chooseGroup(key) {
    if (this.shown.colour) this.state.set({ group: key, hide: [] });
    else this.choose("obs", key);
  }
}
