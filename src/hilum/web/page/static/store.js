// What the page holds: images, answers, which image is open. It lives in this tab and is gone with it.

/** Events: "list" when images come or go, "item" when the state of an image changes, "open" when another image is opened. */
export class Store extends EventTarget {
  items = [];
  open = null;
  model = null;
  models = [];
  showNames = false;
  #next = 1;

  /** Adds images in the order given. */
  add(images) {
    for (const { name, blob } of images) {
      const number = this.#next;
      this.#next += 1;
      this.items.push({
        number, name, blob, sentName: this.showNames ? name : `image ${number}`, status: "waiting",
        answer: null, kept: null, thumbnail: null, maps: new Map(), similar: null, turn: 0,
      });
    }
    this.#tell("list");
    if (!this.open && this.items.length) this.show(this.items[0]);
  }

  /** Takes one image out of the list. */
  remove(item) {
    const place = this.items.indexOf(item);
    this.items.splice(place, 1);
    if (this.open === item) this.show(this.items[Math.min(place, this.items.length - 1)] ?? null);
    this.#tell("list");
  }

  /** Takes all images out of the list. */
  clear() {
    this.items = [];
    this.show(null);
    this.#tell("list");
  }

  /** All images wait for an answer again, e.g. of another model. */
  readAgain(items = this.items) {
    for (const item of items) Object.assign(item, { status: "waiting", answer: null, maps: new Map(), shown: null, similar: null, turn: item.turn + 1 });
    this.#tell("list");
    this.show(this.open);
  }

  /** Opens an image in the viewer. */
  show(item) {
    this.open = item;
    this.#tell("open", item);
  }

  touched(item) { this.#tell("item", item); }

  #tell(name, detail = null) { this.dispatchEvent(new CustomEvent(name, { detail })); }
}
