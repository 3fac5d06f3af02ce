// What the model says of one image: class, probabilities with the operating point, prediction set, abstention and out-of-distribution flag.

import { fill, make } from "./dom.js";
import { look, swatch } from "./looks.js";
import { digits, either, leading, percent, title } from "./words.js";

/** A bar of a probability; `threshold` marks the operating point. The numbers stand beside it in words. */
function bar(probability, colour, threshold = null) {
  const filled = make("span", { class: "bar-fill" }), parts = [filled];
  filled.style.width = `${100 * probability}%`;
  filled.style.backgroundColor = colour;
  if (threshold !== null) {
    const mark = make("span", { class: "bar-mark" });
    mark.style.left = `${100 * Math.min(Math.max(threshold, 0), 1)}%`;
    parts.push(mark);
  }
  return make("span", { class: "bar", "aria-hidden": "true" }, parts);
}

const row = (name, probability, extra = {}) => make("li", { class: `probability${extra.strong ? " strong" : ""}` },
  make("span", { class: "probability-name" }, extra.swatch ? swatch(name) : null, title(name)),
  make("span", { class: "probability-value", text: percent(probability) }),
  bar(probability, extra.colour ?? look(name).colour, extra.threshold ?? null),
  extra.note ? make("span", { class: "soft small", text: extra.note }) : null);

function verdict(answer) {
  const best = leading(answer), outside = answer.ood?.flagged;
  if (answer.error) return ["bad", "Unreadable", answer.error];
  if (answer.abstained) return ["doubt", outside ? "Abstained: out-of-distribution" : "Abstained", answer.reason ?? "The model gives no class."];
  if (answer.findings) {
    const present = Object.entries(answer.findings).filter(([, each]) => each.positive).map(([name]) => name);
    return ["plain", present.length ? title(present.join(", ")) : "No finding", `${present.length} of ${Object.keys(answer.findings).length} findings are classified as present.`];
  }
  const stated = answer.probabilities?.[answer.prediction];
  const least = best && best.name !== answer.prediction ? ` ${title(best.name)} is the most probable class; the operating point decides.` : "";
  return ["plain", title(answer.prediction), stated === undefined ? "" : `Its calibrated probability is ${percent(stated).replace(">", "over").replace("<", "under")}.${least}`];
}

function heading(answer) {
  const [kind, words, reason] = verdict(answer);
  return make("div", { class: `verdict ${kind}` },
    make("p", { class: "verdict-class" }, kind === "plain" && answer.prediction ? swatch(answer.prediction) : null, words),
    reason ? make("p", { class: "verdict-reason", text: sentence(reason) }) : null);
}

const sentence = (text) => (/[.!?]$/.test(text) ? title(text) : `${title(text)}.`);

const section = (heading, ...content) => make("section", { class: "panel" }, make("h3", { text: heading }), content);

function abnormal(answer) {
  const { probability, threshold, positive } = answer.abnormal;
  const classified = answer.abstained ? "" : `: classified as ${positive ? "abnormal" : "normal"}`;
  const words = `${positive ? "At or above" : "Below"} the operating point of ${percent(threshold)}${classified}.`;
  return section("Normal or abnormal", make("ul", { class: "probabilities" },
    row("abnormal", probability, { threshold, note: words, colour: "var(--accent)", strong: true })));
}

const classes = (answer) => section("Probability of each class", make("ul", { class: "probabilities" },
  Object.entries(answer.probabilities).map(([name, probability]) => row(name, probability, { swatch: true, strong: name === answer.prediction }))));

const findings = (answer) => section("Findings", make("ul", { class: "probabilities" },
  Object.entries(answer.findings).map(([name, each]) => row(name, each.probability, {
    threshold: each.threshold, strong: each.positive, colour: "var(--accent)",
    note: `${each.positive ? "Present" : "Absent"}; operating point ${percent(each.threshold)}.`,
  }))));

function predictionSet(answer) {
  const set = answer.prediction_set;
  const chips = set.length ? set.map((name) => make("li", { class: "chip" }, swatch(name), title(name))) : [make("li", { class: "chip", text: "no class" })];
  const coverage = answer.coverage === null ? "" : `Such a set holds the true class for ${Number((100 * answer.coverage).toPrecision(4))} % of images like the calibration images.`;
  return section("Prediction set", make("ul", { class: "chips", "aria-label": `Prediction set: ${either(set) || "no class"}` }, chips),
    coverage ? make("p", { class: "soft small", text: coverage }) : null);
}

function ood(answer) {
  const { p_value: p, flagged } = answer.ood;
  const words = flagged
    ? `Flagged: p-value ${digits(p)}.`
    : `Not flagged: p-value ${digits(p)}. The image is like the images that the model was trained on.`;
  return section("Out-of-distribution check", make("p", { class: flagged ? "flagged" : "", text: words }));
}

const origin = (answer) => make("p", { class: "soft small origin" }, `Model ${answer.model.name}`,
  answer.model.digest ? [", weights ", make("code", { text: answer.model.digest.slice(0, 12) })] : null, ".");

/** Fills `element` with the answer for an image. */
export function showAnswer(element, item) {
  if (!item) return fill(element);
  if (!item.answer) {
    const words = { waiting: "The image waits for its answer.", reading: "The image is being read.", stopped: "The image was not read." };
    return fill(element, make("p", { class: "soft pending", text: words[item.status] }));
  }
  const { answer } = item;
  if (answer.error) return fill(element, heading(answer), origin(answer));
  return fill(element, heading(answer),
    answer.abnormal ? abnormal(answer) : null,
    answer.probabilities ? classes(answer) : null,
    answer.findings ? findings(answer) : null,
    answer.prediction_set ? predictionSet(answer) : null,
    answer.ood ? ood(answer) : null,
    origin(answer));
}
