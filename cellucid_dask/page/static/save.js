// The picture as a file: the cells, what is drawn over them, and the legend beside.

import { paintBar } from "./bar.js";
import { categoryColor, css, theme } from "./colors.js";
import { make, number, short } from "./dom.js";
import { drawLayers } from "./labels.js";
import { keep } from "./plot.js";

const LEGEND = 230; // pixels wide
const ROW = 19;

/** @param {App} app */
export function create(app) {
  async function press(scale) {
    const sheet = await snapshot(app, scale);
    const blob = await new Promise((done) => sheet.toBlob(done));
    const { color, group } = app.view.shown;
    keep(`${app.data.identity.id}-${(color ?? group)?.key ?? "cells"}.png`, blob, "image/png");
  }
  return { press };
}

/** @param {App} app @param {number} scale @returns {Promise<HTMLCanvasElement>} */
async function snapshot(app, scale) {
  const { picture } = app, { canvas } = picture, { clientWidth: width, clientHeight: height } = canvas;
  const before = [canvas.width, canvas.height, picture.ratio];
  const resize = (w, h, ratio) => {
    Object.assign(canvas, { width: w, height: h });
    picture.ratio = ratio;
    picture.draw();
  };
  const most = picture.gl.getParameter(picture.gl.MAX_RENDERBUFFER_SIZE) / Math.max(width, height);
  const ratio = Math.min(scale, most);
  const sheet = make("canvas", { width: (width + LEGEND) * ratio, height: height * ratio }), ctx = sheet.getContext("2d");
  ctx.fillStyle = css(theme().background);
  ctx.fillRect(0, 0, sheet.width, sheet.height);
  resize(Math.round(width * ratio), Math.round(height * ratio), ratio);
  await picture.drawn();
  ctx.drawImage(canvas, 0, 0);
  drawLayers(app, ctx, canvas.width, canvas.height, ratio);
  resize(...before);
  ctx.scale(ratio, ratio);
  ctx.translate(width + 10, 24);
  drawLegend(ctx, app, height);
  return sheet;
}

/** @param {CanvasRenderingContext2D} ctx @param {App} app */
function drawLegend(ctx, { data, view, state }, height) {
  const { color, group, counts, range } = view.shown, ink = css(theme().ink);
  const write = (text, x, y, bold = false) => {
    ctx.font = `${bold ? "600 " : ""}13px system-ui, sans-serif`;
    ctx.fillStyle = ink;
    ctx.fillText(text, x, y, LEGEND - 20 - (ctx.textAlign === "right" ? 0 : x));
  };
  write(data.name, 0, 0, true);
  write(color?.label ?? group?.key ?? "", 0, ROW * 1.5, true);
  if (color) {
    paintBar(ctx, view.shown, state.view.map, 0, ROW * 2, LEGEND - 20, 64);
    write(short(range[0]), 0, ROW * 2 + 80);
    ctx.textAlign = "right";
    write(short(range[1]), LEGEND - 20, ROW * 2 + 80);
    return;
  }
  const shown = [...(group?.categories.keys() ?? [])].filter((i) => !state.view.hide.includes(i));
  const rows = Math.floor(height / ROW) - 5;
  shown.slice(0, rows).forEach((i, at) => {
    const y = ROW * (at + 2.6);
    ctx.fillStyle = css(categoryColor(i));
    ctx.fillRect(0, y - 10, 11, 11);
    write(`${group.categories[i]} (${number(counts[i])})`, 18, y);
  });
  if (shown.length > rows) write(`… and ${number(shown.length - rows)} more`, 18, ROW * (rows + 2.6));
}
