// The classes' markers, by matplotlib's names as in the other figures: each adds itself to a path.
const polygon = (path, points) => {
  points.forEach(([x, y], number) => number ? path.lineTo(x, y) : path.moveTo(x, y));
  path.closePath();
};
const MARKERS = {
  o: (path, x, y, r) => { path.moveTo(x + r, y); path.arc(x, y, r, 0, 2 * Math.PI); },
  s: (path, x, y, r) => path.rect(x - r, y - r, 2 * r, 2 * r),
  "^": (path, x, y, r) => polygon(path, [[x, y - 1.3 * r], [x + 1.2 * r, y + r], [x - 1.2 * r, y + r]]),
  v: (path, x, y, r) => polygon(path, [[x, y + 1.3 * r], [x + 1.2 * r, y - r], [x - 1.2 * r, y - r]]),
  D: (path, x, y, r) => polygon(path, [[x, y - 1.4 * r], [x + 1.4 * r, y], [x, y + 1.4 * r], [x - 1.4 * r, y]]),
  P: (path, x, y, r) => { path.rect(x - 1.2 * r, y - r / 2, 2.4 * r, r); path.rect(x - r / 2, y - 1.2 * r, r, 2.4 * r); },
  h: (path, x, y, r) => polygon(path, [0, 1, 2, 3, 4, 5].map((corner) =>
    [x + 1.2 * r * Math.sin(corner * Math.PI / 3), y - 1.2 * r * Math.cos(corner * Math.PI / 3)])),
  X: (path, x, y, r) => [[1, 1], [1, -1]].forEach(([a, b]) => polygon(path,
    [[x - r * a - r / 3, y - r * b + b * r / 3], [x - r * a + r / 3, y - r * b - b * r / 3],
      [x + r * a + r / 3, y + r * b - b * r / 3], [x + r * a - r / 3, y + r * b + b * r / 3]])),
};
const swatch = ({ colour, marker }, canvas) => {
  const pen = canvas.getContext("2d"), path = new Path2D();
  MARKERS[marker](path, 14, 14, 8);
  pen.fillStyle = colour;
  pen.fill(path);
  return canvas;
};
