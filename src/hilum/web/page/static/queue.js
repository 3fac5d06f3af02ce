// Images go to the service a few at a time, in their order; what is left is told in time.

import { predict } from "./api.js";

const TOGETHER = 3;
const PASSING = [0, 429, 503]; // no connection, over capacity, not ready
const NOTHING = {
  file: null, prediction: null, abstained: false, reason: null, abnormal: null, probabilities: null, findings: null, prediction_set: null,
  coverage: null, ood: null, attribution: null,
};

/** Sends the waiting images of a store. `changed` is called after each step. */
export class Queue {
  constructor(store, changed) {
    this.store = store;
    this.changed = changed;
    this.running = 0;
    this.stopper = new AbortController();
    this.reset();
  }

  reset() {
    this.started = performance.now();
    this.done = 0;
  }

  get waiting() { return this.store.items.filter((item) => item.status === "waiting").length; }
  get left() { return this.waiting + this.running; }

  /** Seconds that the images left take at the rate so far; null before the first is done. */
  get secondsLeft() {
    return this.done ? (this.left * (performance.now() - this.started)) / 1000 / this.done : null;
  }

  /** An image that was refused has an answer that says why; one that could not be sent at all can be read again. */
  #failed(error) {
    if (error.name === "AbortError") return { status: "stopped" };
    if (PASSING.includes(error.status)) return { status: "stopped", unsent: error.message };
    const { name, digest } = this.store.model ?? { name: "", digest: null };
    return { answer: { ...NOTHING, error: error.message, model: { name, digest } }, status: "done" };
  }

  /** Starts what is waiting. */
  start() {
    if (this.running === 0) this.reset();
    while (this.running < TOGETHER) {
      const item = this.store.items.find((each) => each.status === "waiting");
      if (!item) break;
      this.#send(item);
    }
    this.changed();
  }

  /** Ends all requests; images without an answer stay in the list and can be read again. */
  stop() {
    this.stopper.abort(new DOMException("stopped", "AbortError"));
    this.stopper = new AbortController();
    for (const item of this.store.items) if (item.status === "waiting") item.status = "stopped";
    this.changed();
  }

  async #send(item) {
    item.status = "reading";
    this.running += 1;
    const model = this.store.model?.id, turn = item.turn;
    let state;
    try {
      const { answer, kept, notKept } = await predict(item, model, this.stopper.signal);
      state = { answer, kept, notKept, unsent: null, status: "done" };
    } catch (error) {
      state = this.#failed(error);
    }
    if (item.turn === turn) Object.assign(item, state);
    this.running -= 1;
    this.done += 1;
    this.store.touched(item);
    this.start();
  }
}
