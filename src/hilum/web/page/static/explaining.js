// The attribution overlay: which method and class, how opaque, with its scale and its faithfulness line.

import { explain, follow } from "./api.js";
import { coloured, drawScale, pictureOf } from "./colours.js";
import { fill, make } from "./dom.js";
import { digits, leading, methodName, plural, timeLeft, title } from "./words.js";

const QUICK = "layer_cam"; // the method that is shown first: that of hilum predict --attribution

/** Connects the controls of the overlay with the viewer. `elements`: on, method, target, opacity, line, scale, low, high, stop, progress. */
export class Explaining {
  constructor(store, viewer, elements) {
    Object.assign(this, { store, viewer, ...elements });
    this.on.addEventListener("change", () => this.#refresh());
    this.method.addEventListener("change", () => this.#refresh());
    this.target.addEventListener("change", () => this.#refresh());
    this.opacity.addEventListener("input", () => this.#fade());
    this.stop.addEventListener("click", () => { this.stopper?.abort(new DOMException("stopped", "AbortError")); this.on.checked = false; this.#refresh(); });
    this.#fade();
  }

  /** Another model: other methods and classes. */
  use(model) {
    const methods = [...(model?.methods ?? [])].sort((a, b) => (b === QUICK) - (a === QUICK));
    fill(this.method, methods.map((name) => make("option", { value: name, text: methodName(name) })));
    fill(this.target, make("option", { value: "", text: "most probable class" }),
      (model?.classes ?? []).map((name) => make("option", { value: name, text: title(name) })));
    this.possible = methods.length > 0;
  }

  /** Another image, or its answer has come. */
  update() {
    const item = this.store.open, ready = Boolean(this.possible && item?.answer && !item.answer.error);
    this.on.disabled = !ready;
    for (const control of [this.method, this.target, this.opacity]) control.disabled = !ready;
    this.#refresh();
  }

  #fade() {
    this.viewer.opacity = Number(this.opacity.value) / 100;
    this.opacity.setAttribute("aria-valuetext", `${this.opacity.value} %`);
    this.viewer.draw();
  }

  get key() { return `${this.store.model?.id} ${this.method.value} ${this.target.value}`; }

  async #refresh() {
    const item = this.store.open, { key } = this, pending = this.on.checked && !this.on.disabled ? `${item?.number} ${item?.turn} ${key}` : "";
    if (pending && pending === this.pending) return undefined;
    this.pending = "";
    this.stopper?.abort(new DOMException("another map", "AbortError"));
    this.stopper = new AbortController();
    this.#busy(false);
    this.scale.parentElement.hidden = true;
    this.viewer.lay(null);
    if (!pending || !item) return this.#say("");
    try {
      if (!item.maps.has(key)) {
        this.pending = pending;
        item.maps.set(key, await this.#made(item, this.stopper.signal));
      }
    } catch (error) {
      if (error.name !== "AbortError") this.#say(`No attribution map: ${error.message}`);
      return undefined;
    } finally {
      if (this.pending === pending) this.pending = "";
    }
    if (item !== this.store.open || key !== this.key || !this.on.checked) return undefined;
    return this.#lay(item, item.maps.get(key));
  }

  async #made(item, signal) {
    this.#say(`${methodName(this.method.value)} is being computed.`);
    this.#busy(true);
    try {
      const target = this.target.value || leading(item.answer)?.name;
      let map = await explain(item, this.store.model?.id, this.method.value, target, signal);
      if (map.job) map = await follow(map.url, (state) => this.#report(state), signal);
      const picture = await pictureOf(map.map), low = map.low ?? 0, high = map.high ?? 1;
      return { ...map, low, high, picture: coloured(picture, low, high) };
    } finally {
      if (!signal.aborted) this.#busy(false);
    }
  }

  #report({ done, total, seconds_left: left, status }) {
    if (total) Object.assign(this.progress, { max: total, value: done ?? 0 });
    const time = left ? ` About ${timeLeft(left)} left.` : "";
    this.#say(status === "queued" ? "The map waits for its turn." : `${methodName(this.method.value)} is being computed: ${done ?? 0} of ${plural(total ?? 0, "step")}.${time}`);
  }

  #lay(item, map) {
    if (item === this.store.open) this.viewer.lay(map.picture);
    this.scale.parentElement.hidden = false;
    drawScale(this.scale, map.low, map.high);
    this.low.textContent = digits(map.low);
    this.high.textContent = digits(map.high);
    const what = `${map.title ?? methodName(map.method)} for ${map.target}.`;
    const faithfulness = map.faithfulness?.sentence ?? "Its faithfulness was not measured.";
    item.shown = { ...map, words: `${what} ${faithfulness}` };
    this.#say(item.shown.words);
  }

  #busy(busy) {
    this.progress.hidden = this.stop.hidden = !busy;
    this.progress.removeAttribute("value");
  }

  #say(words) { this.line.textContent = words; }
}
