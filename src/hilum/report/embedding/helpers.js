// Small helpers of the map's script.
const element = (tag, text = "", properties = {}) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.textContent = text;
  return made;
};
const percent = (share) => `${(100 * share).toFixed(0)}\u00a0%`;
const range = (values) => values.reduce(([low, high], value) =>
  value === null ? [low, high] : [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
const inside = ([x, y], corners) => corners.reduce((within, [ax, ay], number) => {
  const [bx, by] = corners[(number || corners.length) - 1];
  return (ay > y) !== (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax ? !within : within;
}, false);
const cell = (value) => /[",\n\r]/.test(value ?? "") ? `"${String(value).replaceAll('"', '""')}"` : String(value ?? "");
