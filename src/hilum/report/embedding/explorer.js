// The interactive map of "Embedding space": a canvas to move and zoom, the chosen image with its neighbours, a list to save.
const root = document.getElementById("embedding-explorer");
const data = JSON.parse(document.getElementById("embedding-data").textContent);
const part = (name) => root.querySelector(`[data-part="${name}"]`);
const plot = part("plot"), tip = part("tip"), chosen = part("chosen"), picked = part("picked");
const GREY = "#b9bec5", INK = "#24292f", PINK = "#CC79A7", NOTHING = "–", MARGIN = 18, NEAR = 14, RADIUS = 3;
const TEN = ["#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#332288", "#999933", "#882255", "#44AA99"];
const VIRIDIS = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6dcd59", "#b4de2c", "#fde725"];
const images = data.images, everything = images.case.map((_, index) => index);
const row = new Map(images.case.map((id, index) => [id, index]));
const state = { map: Object.keys(data.maps)[0], colour: "label", splits: new Set(data.splits), hidden: new Set(),
  case: null, list: [], lasso: null, drawsLasso: false, view: null };

// -- pictures: one tile of a sheet; a sheet becomes a blob once, so that its address is short -------------------

const sheets = data.sprites.sheets.map(() => null);
const address = (number) => {
  if (!sheets[number]) {
    const [kind, body] = data.sprites.sheets[number].split(";base64,");
    const bytes = Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
    sheets[number] = URL.createObjectURL(new Blob([bytes], { type: kind.slice(5) }));
  }
  return sheets[number];
};
const tile = (index, size) => {
  const made = element("span", "", { className: "tile", role: "img" });
  made.setAttribute("aria-label", `Chest image ${images.case[index]}, labelled ${images.label[index]}`);
  made.style.width = made.style.height = `${size}px`;
  const number = images.tile[index], { columns } = data.sprites;
  if (number === null) {
    made.textContent = "no picture";
    return made;
  }
  const each = columns * columns, place = number % each;
  made.style.backgroundImage = `url("${address(Math.floor(number / each))}")`;
  made.style.backgroundSize = `${columns * size}px auto`;
  made.style.backgroundPosition = `${-size * (place % columns)}px ${-size * Math.floor(place / columns)}px`;
  return made;
};

// -- groups: every colouring puts each image into a group with a name, a colour and a marker ---------------------

const byClass = (column) => ({
  groups: data.classes,
  of: (index) => data.classes.findIndex(({ name }) => name === images[column][index]),
});
const COLOURINGS = {
  label: byClass("label"),
  predicted: byClass("predicted"),
  error: {
    groups: [{ name: "correct", colour: GREY, marker: "o" },
      ...data.classes.map((each) => ({ ...each, name: `wrong, labelled ${each.name}` }))],
    of: (index) => images.target[index] === images.predicted[index] ? 0
      : 1 + data.classes.findIndex(({ name }) => name === images.label[index]),
  },
  split: {
    groups: data.splits.map((name) => ({
      name: data.split_names[name], colour: { train: GREY, val: "#E69F00", test: "#000000" }[name], marker: "o" })),
    of: (index) => data.splits.indexOf(images.split[index]),
  },
  patient: (() => {
    const counts = new Map();
    images.patient.forEach((name) => counts.set(name, (counts.get(name) ?? 0) + 1));
    const several = [...counts.keys()].filter((name) => counts.get(name) > 1);
    const place = new Map(several.map((name, number) => [name, 1 + number % TEN.length]));
    return {
      groups: [{ name: "one image", colour: "#dfe2e6", marker: "o" },
        ...TEN.map((colour) => ({ name: "", colour, marker: "o" }))],
      of: (index) => place.get(images.patient[index]) ?? 0,
    };
  })(),
};
const colouring = () => {
  if (COLOURINGS[state.colour]) return COLOURINGS[state.colour];
  const { values } = data.scores[state.colour], [low, high] = range(values);
  return {
    groups: VIRIDIS.map((colour) => ({ name: "", colour, marker: "o" })),
    of: (index) => values[index] === null ? -1
      : Math.min(VIRIDIS.length - 1, Math.floor(VIRIDIS.length * (values[index] - low) / (high - low || 1))),
  };
};
// What is on the map now, kept until map, colouring, splits or hidden groups change.
let kept = null;
const shown = () => {
  if (kept) return kept;
  const { groups, of } = colouring(), { x } = data.maps[state.map], group = everything.map(of);
  const list = everything.filter((index) => x[index] !== null && state.splits.has(images.split[index])
    && group[index] >= 0 && !state.hidden.has(group[index]));
  kept = { groups, group, list };
  return kept;
};

// -- the view: pixels = centre + zoom * (place - middle), the same zoom along both axes ----------------------------

let area = { width: 0, height: 0 };
const whole = () => {
  const { x, y } = data.maps[state.map], [left, right] = range(x), [low, high] = range(y), { width, height } = area;
  return { x: (left + right) / 2, y: (low + high) / 2,
    zoom: Math.min((width - 2 * MARGIN) / (right - left || 1), (height - 2 * MARGIN) / (high - low || 1)) };
};
const toPixels = (index) => {
  const { x, y } = data.maps[state.map], { width, height } = area, { view } = state;
  return [width / 2 + view.zoom * (x[index] - view.x), height / 2 - view.zoom * (y[index] - view.y)];
};
const zoomBy = (factor, [across, down] = [area.width / 2, area.height / 2]) => {
  const { width, height } = area, { view } = state, { zoom: least } = whole();
  const zoom = Math.min(Math.max(view.zoom * factor, least / 2), 500 * least);
  view.x += (across - width / 2) * (1 / view.zoom - 1 / zoom);
  view.y -= (down - height / 2) * (1 / view.zoom - 1 / zoom);
  view.zoom = zoom;
  draw();
};
const moveBy = (across, down) => {
  state.view.x -= across / state.view.zoom;
  state.view.y += down / state.view.zoom;
  draw();
};

// -- drawing -----------------------------------------------------------------------------------------------------

const circle = (pen, index, radius, colour, width) => {
  if (data.maps[state.map].x[index] === null) return;
  const [x, y] = toPixels(index);
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  Object.assign(pen, { strokeStyle: colour, lineWidth: width });
  pen.stroke();
};
// The chosen image, lines to its neighbours, rings around other images of the same patient.
const marks = (pen) => {
  const centre = state.case, { x } = data.maps[state.map];
  if (centre === null || x[centre] === null) return;
  const near = neighbours(centre).map(([index]) => index).filter((index) => x[index] !== null);
  pen.beginPath();
  near.forEach((index) => { pen.moveTo(...toPixels(centre)); pen.lineTo(...toPixels(index)); });
  Object.assign(pen, { strokeStyle: INK, lineWidth: 1 });
  pen.stroke();
  near.forEach((index) => circle(pen, index, 5.5, INK, 1.5));
  everything.filter((index) => index !== centre && images.patient[index] === images.patient[centre])
    .forEach((index) => circle(pen, index, 7.5, PINK, 2));
  circle(pen, centre, 9, INK, 3);
};
const paint = () => {
  const { width, height } = area, sharp = window.devicePixelRatio || 1, pen = plot.getContext("2d");
  plot.width = width * sharp;
  plot.height = height * sharp;
  pen.scale(sharp, sharp);
  const { groups, group, list } = shown(), paths = groups.map(() => new Path2D());
  list.forEach((index) => MARKERS[groups[group[index]].marker](paths[group[index]], ...toPixels(index), RADIUS));
  pen.globalAlpha = 0.8;
  paths.forEach((path, number) => { pen.fillStyle = groups[number].colour; pen.fill(path); });
  pen.globalAlpha = 1;
  marks(pen);
  if (state.lasso) {
    pen.beginPath();
    polygon(pen, state.lasso);
    Object.assign(pen, { fillStyle: "rgba(11,92,173,.12)", strokeStyle: "#0b5cad", lineWidth: 1.5 });
    pen.fill();
    pen.stroke();
  }
};
let waiting = false;
const draw = () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; paint(); });
};

// -- the legend ----------------------------------------------------------------------------------------------------

const legend = () => {
  const score = data.scores[state.colour], { groups, group: groupOf } = shown();
  if (score && !COLOURINGS[state.colour]) {
    const [low, high] = range(score.values), bar = element("i", "", { className: "ramp" });
    bar.style.background = `linear-gradient(to right, ${VIRIDIS.join(",")})`;
    part("legend").replaceChildren(element("span", score.name), element("span", low.toPrecision(2)), bar, element("span", high.toPrecision(2)));
    return;
  }
  const counts = groups.map(() => 0);
  everything.filter((index) => state.splits.has(images.split[index])).forEach((index) => { counts[groupOf[index]] += 1; });
  part("legend").replaceChildren(...groups.flatMap((group, number) => {
    if (!group.name || !counts[number]) return [];
    const button = element("button", "", { type: "button" });
    button.append(swatch(group, element("canvas", "", { width: 28, height: 28 })), `${group.name} (${counts[number].toLocaleString("en")})`);
    const press = () => button.setAttribute("aria-pressed", String(!state.hidden.has(number)));
    press();
    button.addEventListener("click", () => {
      state.hidden[state.hidden.has(number) ? "delete" : "add"](number);
      press();
      kept = null;
      pick([]);
      draw();
    });
    return [button];
  }));
};

// -- the chosen image ------------------------------------------------------------------------------------------------

const neighbours = (index) => (data.neighbors.rows[index] ?? [])
  .map((other, place) => [other, data.neighbors.distances[index][place]]);
const lines = (index) => [`labelled ${images.label[index]}`, `predicted ${images.predicted[index]} (${percent(images.confidence[index])})`];
const facts = (index) => [
  ["Label", images.label[index]],
  ["Predicted", `${images.predicted[index]}, probability ${percent(images.confidence[index])}${images.target[index] === images.predicted[index] ? "" : ": wrong"}`],
  ["Split", data.split_names[images.split[index]] ?? images.split[index]],
  ["Patient", images.patient[index]],
  ...Object.values(data.scores).map(({ name, values }) => [name, values[index] === null ? NOTHING : values[index].toPrecision(3)]),
];
const comeIntoView = (index) => {
  const { x, y } = data.maps[state.map], [across, down] = toPixels(index);
  if (x[index] === null || (across >= 0 && across <= area.width && down >= 0 && down <= area.height)) return;
  Object.assign(state.view, { x: x[index], y: y[index] });
};
const choose = (index) => {
  state.case = index;
  tip.hidden = true;
  chosen.replaceChildren(element("h4", images.case[index]), tile(index, 176));
  const table = element("dl");
  facts(index).forEach(([name, value]) => table.append(element("dt", name), element("dd", value)));
  chosen.append(table, element("h4", neighbours(index).length ? data.neighbors.title : "No neighbours were kept for this image."));
  const list = element("ol", "", { className: "near" });
  neighbours(index).forEach(([other, distance]) => {
    const button = element("button", "", { type: "button", title: images.case[other] });
    const dot = element("i", "", { className: "dot" });
    dot.style.background = data.classes.find(({ name }) => name === images.label[other])?.colour ?? GREY;
    const label = element("span");
    label.append(dot, images.label[other], element("small", distance.toPrecision(3)));
    button.append(tile(other, 82), label);
    button.addEventListener("click", () => choose(other));
    const item = element("li");
    item.append(button);
    list.append(item);
  });
  chosen.append(list);
  comeIntoView(index);
  draw();
};
const point = (index, [left, top]) => {
  tip.replaceChildren(tile(index, 112), element("b", images.case[index]), ...lines(index).map((line) => element("span", line)));
  tip.hidden = false;
  const { width, height } = area;
  tip.style.left = `${left > width / 2 ? left - tip.offsetWidth - 14 : left + 14}px`;
  tip.style.top = `${Math.max(0, Math.min(top - 20, height - tip.offsetHeight))}px`;
};
const nearest = ([left, top], most = NEAR, allowed = () => true) => {
  let best = null, least = most;
  shown().list.filter(allowed).forEach((index) => {
    const [x, y] = toPixels(index), distance = Math.hypot(x - left, y - top);
    if (distance < least) [best, least] = [index, distance];
  });
  return best;
};
// The next image in a direction, within 45 degrees of it.
const step = (across, down) => {
  const [left, top] = state.case === null ? [area.width / 2, area.height / 2] : toPixels(state.case);
  const next = nearest([left, top], Infinity, (index) => {
    const [x, y] = toPixels(index), along = (x - left) * across + (y - top) * down;
    return index !== state.case && along > 0 && along >= Math.abs((x - left) * down - (y - top) * across);
  });
  if (next !== null) choose(next);
};

// -- the list --------------------------------------------------------------------------------------------------------

const pick = (indices) => {
  state.list = indices;
  if (!indices.length) state.lasso = null;
  picked.hidden = indices.length === 0;
  if (!indices.length) return;
  part("count").textContent = `${indices.length} ${indices.length === 1 ? "image" : "images"} in the lasso`;
  const most = 48;
  part("sheet").replaceChildren(...indices.slice(0, most).map((index) => {
    const button = element("button", "", { type: "button", title: images.case[index] });
    button.append(tile(index, 64));
    button.addEventListener("click", () => choose(index));
    return button;
  }), ...indices.length > most ? [element("span", `and ${indices.length - most} more in the file`)] : []);
};
const csv = () => {
  const { x, y } = data.maps[state.map];
  const head = ["case_id", "patient", "split", "label", "predicted", "confidence", ...Object.keys(data.scores), "map", "x", "y"];
  const rows = state.list.map((index) => [images.case[index], images.patient[index], images.split[index], images.label[index],
    images.predicted[index], images.confidence[index], ...Object.values(data.scores).map(({ values }) => values[index]), state.map, x[index], y[index]]);
  return [head, ...rows].map((line) => line.map(cell).join(",")).join("\n") + "\n";
};
const save = () => {
  const link = element("a", "", { href: URL.createObjectURL(new Blob([csv()], { type: "text/csv" })), download: "cases.csv" });
  link.click();
  URL.revokeObjectURL(link.href);
};

// -- mouse, finger, keyboard -----------------------------------------------------------------------------------------

const place = (event) => [event.offsetX, event.offsetY];
let drag = null;
plot.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  plot.setPointerCapture(event.pointerId);
  drag = { last: place(event), moved: false };
  if (state.drawsLasso || event.shiftKey) {
    pick([]);
    state.lasso = [place(event)];
    drag.lasso = true;
  }
});
plot.addEventListener("pointermove", (event) => {
  const [x, y] = place(event);
  if (!drag) {
    const index = nearest([x, y]);
    plot.style.cursor = index === null ? (state.drawsLasso ? "crosshair" : "grab") : "pointer";
    if (index === null) tip.hidden = true; else point(index, [x, y]);
    return;
  }
  const across = x - drag.last[0], down = y - drag.last[1];
  if (!drag.moved && Math.hypot(across, down) < 4) return;
  Object.assign(drag, { last: [x, y], moved: true });
  tip.hidden = true;
  if (!drag.lasso) return moveBy(across, down);
  state.lasso.push([x, y]);
  draw();
});
const release = (event) => {
  const { moved, lasso } = drag ?? {};
  drag = null;
  if (lasso) {
    pick(moved ? shown().list.filter((index) => inside(toPixels(index), state.lasso)) : []);
    state.lasso = null;
    draw();
  } else if (event.type === "pointerup" && moved === false) {
    const index = nearest(place(event));
    if (index !== null) choose(index);
  }
};
plot.addEventListener("pointerup", release);
plot.addEventListener("pointercancel", release);
plot.addEventListener("pointerleave", () => { tip.hidden = true; });
plot.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  zoomBy(Math.exp(-event.deltaY / 200), place(event));
}, { passive: false });
const reset = () => { state.view = whole(); draw(); };
plot.addEventListener("dblclick", reset);
const KEYS = { ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0), ArrowUp: () => step(0, -1), ArrowDown: () => step(0, 1),
  "+": () => zoomBy(1.4), "=": () => zoomBy(1.4), "-": () => zoomBy(1 / 1.4), 0: reset };
plot.addEventListener("keydown", (event) => {
  if (!KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  KEYS[event.key]();
});

// -- start -----------------------------------------------------------------------------------------------------------

const find = (text) => {
  const wanted = text.trim();
  const index = row.get(wanted) ?? images.case.findIndex((id) => wanted && id.toLowerCase().includes(wanted.toLowerCase()));
  if (index >= 0) choose(index);
  part("find").setCustomValidity(index >= 0 || !wanted ? "" : "No image has this in its name.");
  part("find").reportValidity();
};
const redraw = () => {
  kept = null;
  pick([]);
  legend();
  draw();
};
part("map").addEventListener("change", (event) => { state.map = event.target.value; state.view = whole(); redraw(); });
part("colour").addEventListener("change", (event) => { state.colour = event.target.value; state.hidden.clear(); redraw(); });
root.querySelectorAll("[data-split]").forEach((box) => box.addEventListener("change", () => {
  state.splits[box.checked ? "add" : "delete"](box.dataset.split);
  redraw();
}));
part("find").addEventListener("change", (event) => find(event.target.value));
part("save").addEventListener("click", save);
part("closer").addEventListener("click", () => zoomBy(1.4));
part("farther").addEventListener("click", () => zoomBy(1 / 1.4));
part("whole").addEventListener("click", reset);
part("lasso").addEventListener("click", () => {
  state.drawsLasso = !state.drawsLasso;
  part("lasso").setAttribute("aria-pressed", String(state.drawsLasso));
});
root.hidden = false;
area = { width: plot.clientWidth, height: plot.clientHeight };
document.getElementById("embedding").classList.add("explored");
state.view = whole();
legend();
choose(data.first);
new ResizeObserver(() => {
  if (!plot.clientWidth) return;
  area = { width: plot.clientWidth, height: plot.clientHeight };
  reset();
}).observe(plot);
