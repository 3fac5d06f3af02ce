// Where an image stands on a canvas, and which greys are shown: pure numbers, no drawing.

export const FULL = { centre: 127.5, width: 255 };
const MOST = 32;

const within = (value, low, high) => Math.min(Math.max(value, low), high);

/** The view of one image: `scale` in canvas pixels per image pixel, (`x`, `y`) the canvas place of its upper left corner. */
export class View {
  window = { ...FULL };
  inverted = false;
  scale = 1;
  x = 0;
  y = 0;

  /** `image` and `canvas`: objects with width and height. */
  constructor(image, canvas) {
    this.image = image;
    this.canvas = canvas;
    this.fit();
  }

  get fitting() { return Math.min(this.canvas.width / this.image.width, this.canvas.height / this.image.height); }

  /** The whole image, centred. */
  fit() {
    this.scale = this.fitting;
    this.x = (this.canvas.width - this.scale * this.image.width) / 2;
    this.y = (this.canvas.height - this.scale * this.image.height) / 2;
  }

  /** As it was opened: the whole image, all greys, not inverted. */
  reset() {
    this.fit();
    this.window = { ...FULL };
    this.inverted = false;
  }

  /** Larger or smaller by a factor; the image point at (x, y) of the canvas stays there. */
  magnify(factor, x = this.canvas.width / 2, y = this.canvas.height / 2) {
    const scale = within(this.scale * factor, this.fitting / 2, Math.max(MOST * this.fitting, 8));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.#keepInSight();
  }

  move(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.#keepInSight();
  }

  /** A part of the image always stays on the canvas. */
  #keepInSight() {
    const margin = 48, { canvas, image, scale } = this;
    this.x = within(this.x, margin - scale * image.width, canvas.width - margin);
    this.y = within(this.y, margin - scale * image.height, canvas.height - margin);
  }

  /** Window centre and width in greys of 0 to 255. */
  setWindow(centre, width) {
    this.window = { centre: within(centre, 0, 255), width: within(width, 2, 510) };
  }

  /** The grey that is shown for each grey of the image, as a packed pixel. */
  greys() {
    const { centre, width } = this.window, table = new Uint32Array(256);
    for (let grey = 0; grey < 256; grey += 1) {
      const share = within((grey - centre) / width + 0.5, 0, 1), shown = Math.round(255 * (this.inverted ? 1 - share : share));
      table[grey] = 0xff000000 | (shown << 16) | (shown << 8) | shown;
    }
    return table;
  }

  get percent() { return Math.round(100 * this.scale / this.fitting); }
}
