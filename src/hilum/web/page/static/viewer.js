// The viewer: a canvas with window and level, magnification, moving, inversion and an attribution overlay.
// Only the pixels on the screen are worked on, so the size of the image does not matter.

import { perFrame } from "./dom.js";
import { View } from "./view.js";

const WHEEL = 0.0015, STEP = 1.25, PAN = 48, LEVEL = 8;

/** Shows one image at a time. Events: "view" whenever something about the view changes. */
export class Viewer extends EventTarget {
  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.pen = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
    this.view = null;
    this.picture = null;
    this.overlay = null;
    this.opacity = 0.6;
    this.tool = "window";
    this.pointers = new Map();
    this.draw = perFrame(() => this.#draw());
    new ResizeObserver(() => this.#resize()).observe(canvas);
    this.#listen();
  }

  /** Shows a picture (an ImageBitmap), or nothing. `original`: its width and height before it was reduced. */
  show(picture, original = picture) {
    this.picture = picture;
    this.original = original;
    this.overlay = null;
    this.view = picture ? new View(picture, this.canvas) : null;
    this.changed();
  }

  /** Lays a map in colour over the image; null takes it away. */
  lay(overlay) {
    this.overlay = overlay;
    this.changed();
  }

  changed() {
    this.draw();
    this.dispatchEvent(new Event("view"));
  }

  /** Does something with the view and draws it: viewer.act((view) => view.fit()). */
  act(change) {
    if (!this.view) return;
    change(this.view);
    this.changed();
  }

  #resize() {
    const ratio = Math.min(devicePixelRatio || 1, 2), box = this.canvas.getBoundingClientRect();
    const width = Math.max(1, Math.round(box.width * ratio)), height = Math.max(1, Math.round(box.height * ratio));
    if (width === this.canvas.width && height === this.canvas.height) return;
    const whole = this.view && Math.abs(this.view.scale - this.view.fitting) < 1e-6;
    Object.assign(this.canvas, { width, height });
    if (whole) this.view.fit();
    this.changed();
  }

  #draw() {
    const { pen, canvas, view, picture } = this;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    if (!picture) return;
    pen.imageSmoothingEnabled = view.scale < 4;
    pen.imageSmoothingQuality = this.pointers.size ? "low" : "high";
    const box = [view.x, view.y, view.scale * picture.width, view.scale * picture.height];
    pen.drawImage(picture, ...box);
    this.#window(box);
    if (!this.overlay) return;
    pen.imageSmoothingEnabled = true;
    pen.globalAlpha = this.opacity;
    pen.drawImage(this.overlay, ...box);
    pen.globalAlpha = 1;
  }

  /** Window, level and inversion on the part of the image that is on the canvas. */
  #window([x, y, width, height]) {
    const { window, inverted } = this.view, { canvas, pen } = this;
    if (window.centre === 127.5 && window.width === 255 && !inverted) return;
    const left = Math.max(0, Math.floor(x)), top = Math.max(0, Math.floor(y));
    const right = Math.min(canvas.width, Math.ceil(x + width)), bottom = Math.min(canvas.height, Math.ceil(y + height));
    if (right <= left || bottom <= top) return;
    const part = pen.getImageData(left, top, right - left, bottom - top), greys = this.view.greys();
    const packed = new Uint32Array(part.data.buffer);
    for (let place = 0; place < packed.length; place += 1) packed[place] = greys[packed[place] & 255];
    pen.putImageData(part, left, top);
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect(), ratio = this.canvas.width / box.width;
    return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
  }

  #listen() {
    const listen = (name, work) => this.canvas.addEventListener(name, work, { passive: false });
    listen("wheel", (event) => {
      event.preventDefault();
      this.act((view) => view.magnify(Math.exp(-WHEEL * event.deltaY * (event.deltaMode === 1 ? 16 : 1)), ...this.#place(event)));
    });
    listen("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, this.#place(event));
    });
    listen("pointermove", (event) => this.#drag(event));
    for (const name of ["pointerup", "pointercancel"]) {
      listen(name, (event) => { this.pointers.delete(event.pointerId); this.draw(); });
    }
    listen("dblclick", () => this.act((view) => view.fit()));
    listen("contextmenu", (event) => event.preventDefault());
    listen("keydown", (event) => this.#key(event));
  }

  #drag(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before || !this.view) return;
    const now = this.#place(event), [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    if (this.pointers.size === 2) this.#pinch(event.pointerId, before, now);
    else if (this.tool === "move" || event.shiftKey || event.buttons > 1) this.act((view) => view.move(dx, dy));
    else this.act((view) => view.setWindow(view.window.centre + dy / 2, view.window.width + dx));
    this.pointers.set(event.pointerId, now);
  }

  /** Two fingers: the image follows both. */
  #pinch(id, before, now) {
    const [other] = [...this.pointers].filter(([each]) => each !== id).map(([, place]) => place);
    const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]) || 1;
    this.act((view) => {
      view.magnify(distance(now, other) / distance(before, other), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      view.move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    });
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      "+": (view) => view.magnify(STEP), "=": (view) => view.magnify(STEP), "-": (view) => view.magnify(1 / STEP),
      "0": (view) => view.reset(), f: (view) => view.fit(), i: (view) => { view.inverted = !view.inverted; },
      ArrowLeft: (view) => view.move(PAN, 0), ArrowRight: (view) => view.move(-PAN, 0),
      ArrowUp: (view) => view.move(0, PAN), ArrowDown: (view) => view.move(0, -PAN),
      "[": (view) => view.setWindow(view.window.centre - LEVEL, view.window.width),
      "]": (view) => view.setWindow(view.window.centre + LEVEL, view.window.width),
      "{": (view) => view.setWindow(view.window.centre, view.window.width - 2 * LEVEL),
      "}": (view) => view.setWindow(view.window.centre, view.window.width + 2 * LEVEL),
    };
    const action = actions[event.key] ?? actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    this.act(action);
  }
}
