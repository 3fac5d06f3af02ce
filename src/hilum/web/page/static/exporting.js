// Files for the reader: CSV and JSON as hilum predict writes them, PDF with one page per image. File names stay out unless the
// service was started with --show-identifiers.

import { exported, preview } from "./api.js";
import { save } from "./dom.js";
import { plural } from "./words.js";

const SIDE = 700, PAGES = 50;

const answered = (items) => items.filter((item) => item.answer);
const answer = (item) => ({ ...item.answer, file: item.sentName });
const asJson = (items) => JSON.stringify(answered(items).map(answer), null, 2);

/** Saves the answers as a JSON list. */
export function saveJson(items) {
  save(new Blob([`${asJson(items)}\n`], { type: "application/json" }), "hilum-answers.json");
}

/** Saves the answers as CSV; the service writes it, so that it has the columns of `hilum predict --format csv`. */
export async function saveCsv(items) {
  save(await exported("answers.csv", new Blob([asJson(items)], { type: "application/json" })), "hilum-answers.csv");
}

/** Saves one page per image, at most 50 pages in a file. `report`: gets a sentence now and then. */
export async function savePdf(items, report) {
  const ready = answered(items), files = Math.ceil(ready.length / PAGES);
  for (let file = 0; file < files; file += 1) {
    const part = ready.slice(file * PAGES, (file + 1) * PAGES), facts = [], pixels = [];
    for (const [place, item] of part.entries()) {
      report(`Page ${file * PAGES + place + 1} of ${ready.length} is being prepared.`);
      const sheet = await sheetOf(item);
      facts.push(sheet.facts);
      pixels.push(...sheet.pixels);
    }
    report(`The PDF of ${plural(part.length, "page")} is being written.`);
    save(await exported("sheets.pdf", packed(facts, pixels)), files === 1 ? "hilum-sheets.pdf" : `hilum-sheets-${file + 1}-of-${files}.pdf`);
  }
}

/** The length of the JSON in four bytes, the JSON, and the pixels. */
function packed(facts, pixels) {
  const json = new TextEncoder().encode(JSON.stringify(facts)), length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, json.length);
  return new Blob([length, json, ...pixels], { type: "application/octet-stream" });
}

async function sheetOf(item) {
  if (item.answer.error) return { facts: { answer: answer(item), rows: 0, cols: 0 }, pixels: [] };
  const { picture } = await preview(item, SIDE), { shown } = item, { width: cols, height: rows } = picture;
  const pixels = [channels(picture, null, 1)];
  if (shown) pixels.push(channels(picture, shown.picture, 3));
  picture.close();
  return { facts: { answer: answer(item), rows, cols, overlay: Boolean(shown), caption: shown?.words.slice(0, 600) ?? "" }, pixels };
}

/** The first `count` channels of a picture, with a map over it where there is one. */
function channels(picture, overlay, count) {
  const { width, height } = picture, pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  pen.drawImage(picture, 0, 0);
  pen.globalAlpha = 0.6;
  if (overlay) pen.drawImage(overlay, 0, 0, width, height);
  const { data } = pen.getImageData(0, 0, width, height), values = new Uint8Array(width * height * count);
  for (let from = 0, to = 0; from < data.length; from += 4) for (let channel = 0; channel < count; channel += 1) values[to++] = data[from + channel];
  return values;
}
