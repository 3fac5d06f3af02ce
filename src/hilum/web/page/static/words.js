// Numbers and sentences: subject, verb, number, unit.

/** 0.9712 -> "97.1 %"; never 100 % or 0 %, as no image is certain. */
export function percent(share) {
  if (share >= 0.9995) return "> 99.9 %";
  if (share < 0.0005) return "< 0.1 %";
  return `${(100 * share).toFixed(1)} %`;
}

/** 1 -> "1 image", 50 -> "50 images". */
export const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

/** 75 -> "1 minute 15 seconds"; whole tens above half a minute, as an estimate is no better. */
export function timeLeft(seconds) {
  if (seconds < 1) return "less than a second";
  const rounded = seconds < 30 ? Math.round(seconds) : 10 * Math.round(seconds / 10);
  const minutes = Math.floor(rounded / 60), rest = rounded % 60;
  if (minutes === 0) return plural(rest, "second");
  return minutes < 5 && rest ? `${plural(minutes, "minute")} ${plural(rest, "second")}` : plural(minutes, "minute");
}

/** A p-value or a distance with three digits that count. */
export const digits = (value) => (value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(1) : Number(value.toPrecision(3)).toString());

/** "bacteria" -> "Bacteria". */
export const title = (word) => word.charAt(0).toUpperCase() + word.slice(1);

/** ["a", "b", "c"] -> "a, b or c". */
export const either = (words) => (words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`);

/** The most probable class with its calibrated probability; null where there is none. */
export function leading(answer) {
  const rows = Object.entries(answer?.probabilities ?? {});
  if (!rows.length) return null;
  const [name, probability] = rows.reduce((best, row) => (row[1] > best[1] ? row : best));
  return { name, probability };
}

/** The confidence of an answer, 0 to 1: the maximum calibrated probability. */
export const confidence = (answer) => leading(answer)?.probability ?? null;

/** What an answer says in one word or two: a class, "abstained", "unreadable" or the findings present. */
export function result(answer) {
  if (!answer) return "";
  if (answer.error) return "unreadable";
  if (answer.abstained) return "abstained";
  if (answer.findings) return Object.entries(answer.findings).filter(([, each]) => each.positive).map(([name]) => name).join(", ") || "no finding";
  return answer.prediction ?? "";
}

/** "layer_cam" -> "LayerCAM"; other methods by their words. */
export function methodName(method) {
  const known = {
    layer_cam: "LayerCAM", grad_cam: "Grad-CAM", grad_cam_plus_plus: "Grad-CAM++", integrated_gradients: "Integrated gradients",
    smooth_grad: "SmoothGrad", deep_lift: "DeepLIFT", rise: "RISE", occlusion: "Occlusion", saliency: "Saliency",
  };
  return known[method] ?? title(method.replaceAll("_", " "));
}
