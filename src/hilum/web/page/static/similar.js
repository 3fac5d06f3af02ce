// The most similar training images, and where the image lies on the embedding map.

import { neighbors } from "./api.js";
import { pictureOf } from "./colours.js";
import { colour, fill, make } from "./dom.js";
import { addMarker, look, swatch } from "./looks.js";
import { digits, title } from "./words.js";

/** Fills `element` with the neighbours of an image; fetches them once per image and model. */
export async function showSimilar(element, store) {
  const item = store.open, { model } = store;
  if (!item?.answer || item.answer.error) return fill(element);
  if (item.similar) return draw(element, item.similar);
  if (model && model.neighbors === false) {
    return fill(element, note("This model carries no training images, so there are none to compare with. A run of your own has them: hilum serve RUN."));
  }
  fill(element, note("The training images are being compared."));
  try {
    item.similar = await neighbors(item, model?.id);
  } catch (error) {
    item.similar = { absent: error.message };
  }
  if (item === store.open && item.similar) draw(element, item.similar);
  return undefined;
}

const note = (words) => make("p", { class: "soft small", text: words });

function draw(element, similar) {
  if (similar.absent) return fill(element, note(similar.absent));
  fill(element, make("ol", { class: "neighbors" }, similar.neighbors.map(card)), map(similar));
  return undefined;
}

function card({ case_id: name, label, distance, thumbnail }, place) {
  const frame = make("canvas", { class: "neighbor-image", role: "img", "aria-label": `Training image ${place + 1}: ${label}`, width: 1, height: 1 });
  if (thumbnail) pictureOf(thumbnail).then((picture) => {
    Object.assign(frame, { width: picture.width, height: picture.height });
    frame.getContext("2d").drawImage(picture, 0, 0);
  });
  return make("li", {}, frame,
    make("span", { class: "neighbor-label" }, swatch(label), title(label)),
    make("span", { class: "soft distance", text: `distance ${digits(distance)}` }),
    make("span", { class: "soft tiny", text: name, title: name }));
}

function map({ map: points, place, neighbors: near }) {
  if (!points?.x?.length) return null;
  const labels = [...new Set(points.label)].sort(), canvas = make("canvas", { class: "map", role: "img", "aria-label": mapInWords(points, place, near) });
  Object.assign(canvas, { width: 720, height: 480 });
  paint(canvas, points, place);
  return make("figure", { class: "map-figure" }, canvas,
    make("figcaption", { class: "soft small" },
      make("ul", { class: "legend" }, labels.map((label) => make("li", {}, swatch(label), title(label))), place ? make("li", {}, make("span", { class: "ring", "aria-hidden": "true" }), "this image") : null),
      `${points.title ? `${points.title} of the embedding space` : "Embedding map"}: ${points.x.length.toLocaleString("en")} training images. ${place ? "The ring is the mean place of the neighbours, near ones weighing more." : ""} The axes have no unit.`));
}

function mapInWords(points, place, near) {
  const nearest = near.length ? `The nearest training image is ${near[0].label}.` : "";
  return `Embedding map of ${points.x.length} training images${place ? " with the place of this image" : ""}. ${nearest}`;
}

function paint(canvas, points, place) {
  const pen = canvas.getContext("2d"), { width, height } = canvas, margin = 24;
  const xs = place ? [...points.x, place.x] : points.x, ys = place ? [...points.y, place.y] : points.y;
  const range = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  const [left, right] = range(xs), [bottom, top] = range(ys);
  const scale = Math.min((width - 2 * margin) / (right - left || 1), (height - 2 * margin) / (top - bottom || 1));
  const at = (x, y) => [width / 2 + scale * (x - (left + right) / 2), height / 2 - scale * (y - (bottom + top) / 2)];
  const size = points.x.length > 2000 ? 2.5 : 4;
  pen.globalAlpha = 0.75;
  for (const label of new Set(points.label)) {
    const { colour: shade, marker } = look(label);
    pen.beginPath();
    points.label.forEach((each, number) => { if (each === label) addMarker(pen, marker, ...at(points.x[number], points.y[number]), size); });
    pen.fillStyle = shade;
    pen.fill();
  }
  pen.globalAlpha = 1;
  if (place) ring(pen, at(place.x, place.y));
}

/** Two circles and a cross: seen on every ground. */
function ring(pen, [x, y]) {
  for (const [shade, width] of [[colour("--ground"), 7], [colour("--ink"), 3]]) {
    pen.strokeStyle = shade;
    pen.lineWidth = width;
    pen.beginPath();
    pen.arc(x, y, 13, 0, 2 * Math.PI);
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) { pen.moveTo(x + 7 * dx, y + 7 * dy); pen.lineTo(x + 22 * dx, y + 22 * dy); }
    pen.stroke();
  }
}
