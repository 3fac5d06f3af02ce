// The worklist: a table of images that can be sorted and filtered, with thumbnails that are fetched when they come into sight.

import { preview } from "./api.js";
import { fill, make, perFrame } from "./dom.js";
import { swatch } from "./looks.js";
import { confidence, percent, plural, result, title } from "./words.js";

const SIDE = 96;

/** What the filters know an image by. */
export function flags(item) {
  if (item.answer?.error) return ["unreadable"];
  const words = [];
  if (item.answer?.ood?.flagged) words.push("out-of-distribution");
  if (item.answer?.abstained) words.push("abstained");
  return words;
}

const KEYS = {
  number: (item) => item.number,
  name: (item) => item.name.toLowerCase(),
  result: (item) => result(item.answer),
  confidence: (item) => confidence(item.answer) ?? -1,
};

/** A table of a store's images. `elements`: body, heads, filters, empty, count. */
export class Worklist extends EventTarget {
  constructor(store, elements) {
    super();
    Object.assign(this, { store, ...elements });
    this.sort = { key: "number", down: false };
    this.rows = new Map();
    this.fetching = 0;
    this.wanted = [];
    this.draw = perFrame(() => this.#draw());
    this.sight = new IntersectionObserver((seen) => this.#seen(seen), { root: this.scroller, rootMargin: "200px" });
    this.#listen();
  }

  /** The images that pass the filters, in the order of the table. */
  get shown() {
    const { key, down } = this.sort, of = KEYS[key];
    const compare = (a, b) => (of(a) < of(b) ? -1 : of(a) > of(b) ? 1 : a.number - b.number);
    const images = this.store.items.filter((item) => this.#passes(item)).sort(compare);
    return down ? images.reverse() : images;
  }

  /** Draws every row anew, e.g. in other colours. */
  redraw() {
    for (const row of this.rows.values()) row.state = "";
    this.draw();
  }

  #passes(item) {
    const { byClass, byFlag, byConfidence } = this.filters;
    if (byClass.value && result(item.answer) !== byClass.value) return false;
    if (byFlag.value === "none" && (flags(item).length || !item.answer)) return false;
    if (byFlag.value && byFlag.value !== "none" && !flags(item).includes(byFlag.value)) return false;
    const least = Number(byConfidence.value) / 100;
    return least === 0 || (confidence(item.answer) ?? 0) >= least;
  }

  #listen() {
    for (const filter of Object.values(this.filters)) filter.addEventListener("input", () => this.draw());
    for (const head of this.heads) head.querySelector("button").addEventListener("click", () => this.#sortBy(head.dataset.key));
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (!row) return;
      this.#open(row.item);
      this.dispatchEvent(new CustomEvent("chosen", { detail: row.item }));
    });
    this.body.addEventListener("keydown", (event) => this.#key(event));
    this.store.addEventListener("list", () => this.draw());
    this.store.addEventListener("item", () => this.draw());
    this.store.addEventListener("open", () => this.#mark());
  }

  #open(item, focus = false) {
    this.store.show(item);
    if (focus) this.rows.get(item)?.querySelector("button").focus();
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, Delete: 1 }[event.key], row = event.target.closest("tr");
    if (!step || !row) return;
    event.preventDefault();
    const images = this.shown, place = images.indexOf(row.item), next = images[place + step];
    if (event.key === "Delete") this.store.remove(row.item);
    if (next) this.#open(next, true);
    else if (event.key === "Delete" && place > 0) this.#open(images[place - 1], true);
  }

  #sortBy(key) {
    this.sort = { key, down: this.sort.key === key ? !this.sort.down : key === "confidence" };
    this.draw();
  }

  #draw() {
    const images = this.shown, { length } = this.store.items;
    const held = new Set(this.store.items);
    for (const item of this.rows.keys()) if (!held.has(item)) this.#forget(item);
    const focused = document.activeElement?.closest?.("tr")?.item;
    this.#options();
    const rows = images.map((item) => this.#row(item)), now = this.body.children;
    if (rows.length !== now.length || rows.some((row, place) => row !== now[place])) fill(this.body, rows);
    if (focused) this.rows.get(focused)?.querySelector("button").focus({ preventScroll: true });
    for (const head of this.heads) {
      const sorted = head.dataset.key === this.sort.key;
      head.setAttribute("aria-sort", sorted ? (this.sort.down ? "descending" : "ascending") : "none");
    }
    this.count.textContent = images.length === length ? "" : `${images.length} of ${plural(length, "image")} listed`;
    this.none.hidden = images.length > 0 || length === 0;
    if (this.marked !== this.store.open) this.#mark();
  }

  /** The classes that occur, as options of the filter. */
  #options() {
    const occurring = [...new Set(this.store.items.map((item) => result(item.answer)))]
      .filter((word) => word && !["abstained", "unreadable"].includes(word)).sort();
    const { byClass } = this.filters, wanted = ["", ...occurring], value = byClass.value;
    if ([...byClass.options].map((option) => option.value).join("|") === wanted.join("|")) return;
    fill(byClass, wanted.map((word) => make("option", { value: word, text: word ? title(word) : "All classes" })));
    byClass.value = wanted.includes(value) ? value : "";
  }

  #row(item) {
    const row = this.rows.get(item) ?? this.#newRow(item), state = `${item.status} ${item.turn} ${item.thumbnail !== null}`;
    if (row.state !== state) {
      this.#fillRow(row, item);
      if (item === this.marked) this.marked = undefined;
    }
    row.state = state;
    return row;
  }

  #newRow(item) {
    const row = make("tr");
    row.item = item;
    this.rows.set(item, row);
    this.sight.observe(row);
    return row;
  }

  #fillRow(row, item) {
    const thumbnail = item.thumbnail ?? make("span", { class: "thumbnail" });
    const share = confidence(item.answer);
    fill(row,
      make("td", { class: "cell-number", text: item.number }),
      make("td", {}, make("button", { class: "row-open", type: "button" },
        thumbnail, make("span", { class: "row-name", text: item.name }))),
      make("td", {}, this.#resultOf(item)),
      make("td", { class: "cell-share", text: share === null ? "" : percent(share) }));
  }

  #resultOf(item) {
    if (item.answer?.error) return make("span", { class: "badge bad", text: "unreadable" });
    if (!item.answer) return make("span", { class: "soft", text: { waiting: "waiting", reading: "reading …", stopped: "not read" }[item.status] });
    const word = result(item.answer);
    const badges = flags(item).map((flag) => make("span", { class: "badge doubt", text: flag === "out-of-distribution" ? "OOD" : flag }));
    if (item.answer.abstained) return badges;
    return [make("span", { class: "row-class" }, item.answer.findings ? null : swatch(word), title(word)), ...badges];
  }

  /** Marks the row of the open image and brings it into sight within the list; the page itself does not move. */
  #mark() {
    const { open } = this.store, row = this.rows.get(open);
    for (const each of this.body.querySelectorAll("tr.open")) {
      each.classList.remove("open");
      each.querySelector("button").removeAttribute("aria-current");
    }
    this.marked = row?.isConnected ? open : undefined;
    if (!row?.isConnected) return;
    row.classList.add("open");
    row.querySelector("button").setAttribute("aria-current", "true");
    const box = row.getBoundingClientRect(), frame = this.scroller.getBoundingClientRect();
    if (box.top < frame.top + 40) this.scroller.scrollTop -= frame.top + 40 - box.top;
    else if (box.bottom > frame.bottom) this.scroller.scrollTop += box.bottom - frame.bottom;
  }

  #forget(item) {
    this.sight.unobserve(this.rows.get(item));
    this.rows.delete(item);
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const { item } = target;
      if (!isIntersecting || item.thumbnail || item.noThumbnail || this.wanted.includes(item)) continue;
      this.wanted.push(item);
    }
    this.#fetch();
  }

  /** Thumbnails come one at a time, after the answers, so that they never hold those up. */
  async #fetch() {
    if (this.fetching) return;
    this.fetching += 1;
    for (let item = this.wanted.shift(); item; item = this.wanted.shift()) {
      try {
        const { picture } = await preview(item, SIDE);
        item.thumbnail = thumbnailOf(picture);
      } catch {
        item.noThumbnail = true;
      }
      this.draw();
    }
    this.fetching -= 1;
  }
}

function thumbnailOf(picture) {
  const canvas = make("canvas", { class: "thumbnail", "aria-hidden": "true" });
  Object.assign(canvas, { width: picture.width, height: picture.height });
  canvas.getContext("2d").drawImage(picture, 0, 0);
  picture.close();
  return canvas;
}
