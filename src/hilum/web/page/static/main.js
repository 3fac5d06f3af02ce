// The reading page: puts its parts together.

import { disagree, forget, models, preview } from "./api.js";
import { showAnswer } from "./answer.js";
import { byId, fill, make } from "./dom.js";
import { Explaining } from "./explaining.js";
import { saveCsv, saveJson, savePdf } from "./exporting.js";
import { fromDrop, fromFiles } from "./intake.js";
import { useClasses } from "./looks.js";
import { Queue } from "./queue.js";
import { showSimilar } from "./similar.js";
import { Store } from "./store.js";
import { Viewer } from "./viewer.js";
import { plural, result, timeLeft, title } from "./words.js";
import { Worklist } from "./worklist.js";

const SIDE = 2048, RECENT = 4;
const settings = document.documentElement.dataset;
const store = new Store(), viewer = new Viewer(byId("viewer"));
store.showNames = settings.showNames === "true";
const queue = new Queue(store, () => progress());
const worklist = new Worklist(store, {
  body: byId("rows"), heads: [...document.querySelectorAll("th[data-key]")], scroller: byId("table"),
  filters: { byClass: byId("by-class"), byFlag: byId("by-flag"), byConfidence: byId("by-confidence") },
  count: byId("count"), none: byId("none"),
});
const explaining = new Explaining(store, viewer, Object.fromEntries(
  ["on", "method", "target", "opacity", "line", "scale", "low", "high", "stop", "progress"].map((name) => [name, byId(`map-${name}`)])));

const say = (words) => { byId("status").textContent = words; };
const alarm = (words) => { byId("alert").textContent = words; byId("alert").hidden = !words; };

// -- progress ----------------------------------------------------------------------------------------------------

let lastSaid = 0;

function progress() {
  const total = store.items.length, { left } = queue, bar = byId("progress");
  Object.assign(bar, { max: Math.max(total, 1), value: total - left });
  byId("progress-row").hidden = left === 0;
  byId("resume").hidden = left > 0 || !store.items.some((item) => item.status === "stopped");
  byId("summary").textContent = total && !left ? summary() : "";
  if (!total) return say("");
  const seconds = queue.secondsLeft, time = seconds === null ? "" : ` About ${timeLeft(seconds)} left.`;
  if (left) {
    byId("progress-words").textContent = `${total - left} of ${plural(total, "image")} read.${time}`;
    if (performance.now() - lastSaid < 4000) return undefined;
    lastSaid = performance.now();
    return say(`${total - left} of ${plural(total, "image")} read.`);
  }
  return say(summary());
}

/** "50 images: 20 normal, 18 bacteria, 12 abstained." */
function summary() {
  const counts = new Map();
  for (const item of store.items) {
    const word = item.status === "stopped" ? "not read" : result(item.answer);
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  const parts = [...counts].sort((a, b) => b[1] - a[1]).map(([word, count]) => `${count} ${word}`);
  return `${plural(store.items.length, "image")}: ${parts.join(", ")}.`;
}

// -- images come in ------------------------------------------------------------------------------------------------

async function take(reading) {
  const { images, notes } = await reading;
  alarm(notes.join(" ") || (images.length ? "" : "No image was given."));
  if (!images.length) return;
  store.add(images);
  queue.start();
}

function listenForFiles() {
  for (const [button, input] of [["choose-files", "files"], ["choose-folder", "folder"], ["add-files", "files"], ["add-folder", "folder"]]) {
    byId(button).addEventListener("click", () => byId(input).click());
  }
  for (const input of [byId("files"), byId("folder")]) {
    input.addEventListener("change", () => { take(fromFiles([...input.files])); input.value = ""; });
  }
  byId("phantoms")?.addEventListener("click", () => take(phantoms()));
  let depth = 0;
  const over = (change) => { depth = Math.max(0, depth + change); document.body.classList.toggle("dropping", depth > 0); };
  addEventListener("dragenter", (event) => { event.preventDefault(); over(1); });
  addEventListener("dragleave", () => over(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => { event.preventDefault(); over(-depth); take(fromDrop(event.dataTransfer)); });
}

async function phantoms() {
  const images = [], notes = [];
  for (let number = 1; number <= 6; number += 1) {
    const response = await fetch(`/demo/phantom-${number}.png`);
    if (response.ok) images.push({ name: `phantom ${number}.png`, blob: await response.blob() });
    else notes.push(`Phantom ${number} was not made.`);
  }
  return { images, notes };
}

// -- the open image --------------------------------------------------------------------------------------------------

const recent = new Map();

/** The picture of an image for the viewer; the last few are kept, as each may take 16 MB. */
function pictureFor(item) {
  if (!recent.has(item)) recent.set(item, preview(item, SIDE));
  const wanted = recent.get(item);
  recent.delete(item);
  recent.set(item, wanted);
  wanted.catch(() => recent.delete(item));
  while (recent.size > RECENT) {
    const [oldest, picture] = recent.entries().next().value;
    recent.delete(oldest);
    picture.then((each) => each.picture.close(), () => undefined);
  }
  return wanted;
}

async function open(item) {
  document.body.classList.toggle("empty", store.items.length === 0);
  byId("image-name").textContent = item ? item.name : "No image";
  byId("image-size").textContent = "";
  viewer.show(null);
  answer();
  if (!item) return;
  byId("viewer-note").textContent = "The image is being decoded.";
  try {
    const { picture, width, height } = await pictureFor(item);
    if (item !== store.open) return;
    viewer.show(picture, { width, height });
    const reduced = picture.width < width ? `, shown at ${picture.width} × ${picture.height}` : "";
    byId("image-size").textContent = `${width} × ${height} pixels${reduced}`;
    byId("viewer-note").textContent = "";
    explaining.update();
  } catch (error) {
    if (item === store.open) byId("viewer-note").textContent = `No picture: ${error.message}`;
  }
}

function answer() {
  const item = store.open;
  showAnswer(byId("answer"), item);
  showSimilar(byId("similar"), store);
  byId("similar-panel").hidden = !item?.answer || Boolean(item.answer.error);
  explaining.update();
  disagreement(item);
}

/** With --keep: buttons to say that the answer is another. */
function disagreement(item) {
  const panel = byId("disagree-panel");
  panel.hidden = !item?.kept;
  if (!item?.kept) return;
  const labels = [...(store.model?.classes ?? []), "poor quality"];
  fill(byId("disagree"), labels.map((label) => make("button", {
    type: "button", class: "button", "aria-pressed": String(item.correction === label), text: title(label),
    on: { click: async () => {
      try {
        await disagree(item.kept, label);
        item.correction = label;
        say(`Kept as ${label}.`);
      } catch (error) { alarm(error.message); }
      disagreement(item);
    } },
  })));
}

// -- controls ----------------------------------------------------------------------------------------------------------

function listenForViewer() {
  const acts = {
    "larger": (view) => view.magnify(1.25), "smaller": (view) => view.magnify(0.8), "fit": (view) => view.fit(),
    "invert": (view) => { view.inverted = !view.inverted; }, "reset": (view) => view.reset(),
  };
  for (const [id, act] of Object.entries(acts)) byId(id).addEventListener("click", () => viewer.act(act));
  for (const radio of document.querySelectorAll("input[name=tool]")) {
    radio.addEventListener("change", () => { viewer.tool = radio.value; viewer.canvas.dataset.tool = radio.value; });
  }
  const level = byId("level"), width = byId("width");
  const setWindow = () => viewer.act((view) => view.setWindow(255 - Number(level.value), 512 - Number(width.value)));
  level.addEventListener("input", setWindow);
  width.addEventListener("input", setWindow);
  viewer.addEventListener("view", () => {
    const { view } = viewer;
    document.querySelector(".viewer-frame").classList.toggle("blank", !view);
    if (!view) return;
    const { centre, width: wide } = view.window;
    level.value = String(Math.round(255 - centre));
    width.value = String(Math.round(512 - wide));
    byId("invert").setAttribute("aria-pressed", String(view.inverted));
    byId("view-words").textContent = `Size ${view.percent} %, level ${Math.round(centre)}, width ${Math.round(wide)}${view.inverted ? ", inverted" : ""}`;
  });
}

function listenForList() {
  const exports = {
    csv: () => saveCsv(worklist.shown), json: () => saveJson(worklist.shown), pdf: () => savePdf(worklist.shown, say),
  };
  for (const [kind, work] of Object.entries(exports)) {
    byId(`export-${kind}`).addEventListener("click", async (event) => {
      const button = event.currentTarget;
      button.disabled = true;
      try {
        await work();
        say(`The ${kind.toUpperCase()} file is saved.`);
      } catch (error) { alarm(`The ${kind.toUpperCase()} file was not made: ${error.message}`); }
      button.disabled = false;
      button.focus();
    });
  }
  byId("clear").addEventListener("click", () => { queue.stop(); store.clear(); alarm(""); byId("choose-files").focus(); });
  byId("resume").addEventListener("click", () => {
    alarm("");
    store.readAgain(store.items.filter((item) => item.status === "stopped"));
    queue.start();
  });
  byId("stop").addEventListener("click", () => queue.stop());
  byId("by-confidence").addEventListener("input", (event) => {
    byId("by-confidence-words").textContent = `${event.target.value} %`;
    event.target.setAttribute("aria-valuetext", `at least ${event.target.value} %`);
  });
  worklist.addEventListener("chosen", () => {
    if (matchMedia("(max-width: 46rem)").matches) byId("image-name").scrollIntoView({ block: "start" });
  });
}

async function listenForModels() {
  const select = byId("model");
  const use = (id) => {
    store.model = store.models.find((model) => model.id === id) ?? store.models[0] ?? null;
    useClasses(store.model?.classes ?? []);
    explaining.use(store.model);
  };
  try {
    store.models = await models();
  } catch (error) {
    return alarm(`The models were not listed: ${error.message}`);
  }
  fill(select, store.models.map((model) => make("option", { value: model.id, text: model.id === "packaged" ? "Models of the package" : model.id })));
  const wanted = new URLSearchParams(location.search).get("model");
  if (store.models.some((model) => model.id === wanted)) select.value = wanted;
  use(select.value);
  select.addEventListener("change", () => {
    use(select.value);
    queue.stop();
    store.readAgain();
    if (store.items.length) queue.start();
  });
  return undefined;
}

store.addEventListener("list", () => { document.body.classList.toggle("empty", store.items.length === 0); progress(); });
store.addEventListener("open", (event) => open(event.detail));
store.addEventListener("item", ({ detail: item }) => {
  if (item.notKept ?? item.unsent) alarm(item.notKept ?? item.unsent);
  if (item === store.open) answer();
});
addEventListener("theme", () => { worklist.redraw(); answer(); });
// With --keep: deletes the image and its answer at the service, and takes it out of the list.
byId("forget")?.addEventListener("click", async () => {
  const item = store.open;
  try {
    await forget(item.kept);
    store.remove(item);
  } catch (error) { alarm(error.message); }
});
listenForFiles();
listenForViewer();
listenForList();
await listenForModels();
document.documentElement.dataset.ready = "true";
