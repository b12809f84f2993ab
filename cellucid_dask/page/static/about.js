// What the data set is, where it comes from, and how exact its values are.

import { button, make, number } from "./dom.js";

/** @param {App} app */
export function create({ data: { identity, cells, genes, fields, dims } }) {
  const { source, stats } = identity, settings = identity.export_settings ?? {};
  const exact = { 8: "8 bits: exact to 1/508 of the range of a gene", 16: "16 bits: exact to 1/131,068 of the range of a gene" };
  const web = /^https?:\/\//i.test(source?.url ?? "");
  const facts = {
    Cells: number(cells),
    Genes: number(genes.size),
    Fields: number(fields.size),
    Embeddings: dims.map((dim) => `${dim}D`).join(", "),
    "Neighbor graph": stats.n_edges ? `${number(stats.n_edges)} edges` : "",
    Values: genes.size ? (exact[settings.var_quantization] ?? "32-bit floats, as in the source") : "",
    "Taken from": settings.layer,
    Normalized: settings.normalize,
    Source: source?.name,
    Citation: source?.citation,
    Address: web ? make("a", { href: source.url, textContent: source.url, target: "_blank", rel: "noopener noreferrer" }) : source?.url,
    Exported: identity.created_at,
  };
  const list = make("dl");
  for (const [name, fact] of Object.entries(facts)) {
    if (fact) list.append(make("dt", { textContent: name }), make("dd", {}, fact instanceof Node ? fact : String(fact)));
  }
  const keys = "On the picture: drag to move (in 3D to turn; shift and drag to move), wheel or pinch to zoom, double click to see all. Keys: arrows, + and −, 0; in 3D shift and arrows turn.";
  const box = make("dialog", { ariaLabel: "About this data set" }, make("h2", { textContent: String(identity.name ?? "") }),
    make("p", { textContent: String(identity.description ?? "") }), list, make("p", { textContent: keys }), button("Close", "Close", () => box.close()));
  document.body.append(box);
  return { press: () => box.showModal() };
}
