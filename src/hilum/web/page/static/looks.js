// Classes always have the same colour and marker (Okabe and Ito): those of the report.

const KNOWN = { normal: ["#009E73", "o"], bacteria: ["#D55E00", "s"], virus: ["#0072B2", "^"], pneumonia: ["#CC79A7", "D"] };
const COLOURS = ["#E69F00", "#56B4E9", "#000000", "#7A6A00", "#8C564B", "#6A3D9A", "#B22222", "#3F6E75"], MARKERS = "vPXhosD^";
const ON_DARK = {
  "#0072B2": "#2B9BE0", "#000000": "#D5D9DE", "#7A6A00": "#B5A33A", "#8C564B": "#B98A80", "#6A3D9A": "#A98BD0", "#B22222": "#E0605F", "#3F6E75": "#6FA3AB",
};
let spare = [];

/** Classes that are not known here get the spare looks, in the order of the model's classes. */
export function useClasses(classes) {
  spare = classes.filter((name) => !KNOWN[name]);
}

/** The colour and the marker of a class. */
export function look(name, dark = document.documentElement.dataset.theme !== "light") {
  const [colour, marker] = KNOWN[name] ?? spareLook(name);
  return { colour: dark ? ON_DARK[colour] ?? colour : colour, marker };
}

function spareLook(name) {
  if (!spare.includes(name)) spare.push(name);
  const place = spare.indexOf(name);
  return [COLOURS[place % 8], MARKERS[(place + Math.floor(place / 8)) % 8]];
}

const polygon = (pen, points) => {
  points.forEach(([x, y], number) => (number ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.closePath();
};

/** Adds a marker with the radius `r` at (x, y) to the path of a canvas. */
export function addMarker(pen, marker, x, y, r) {
  const shapes = {
    o: () => { pen.moveTo(x + r, y); pen.arc(x, y, r, 0, 2 * Math.PI); },
    s: () => pen.rect(x - r, y - r, 2 * r, 2 * r),
    "^": () => polygon(pen, [[x, y - 1.3 * r], [x + 1.2 * r, y + r], [x - 1.2 * r, y + r]]),
    v: () => polygon(pen, [[x, y + 1.3 * r], [x + 1.2 * r, y - r], [x - 1.2 * r, y - r]]),
    D: () => polygon(pen, [[x, y - 1.4 * r], [x + 1.4 * r, y], [x, y + 1.4 * r], [x - 1.4 * r, y]]),
    P: () => { pen.rect(x - 1.2 * r, y - r / 2, 2.4 * r, r); pen.rect(x - r / 2, y - 1.2 * r, r, 2.4 * r); },
    X: () => polygon(pen, [[x - r, y - 1.3 * r], [x, y - 0.4 * r], [x + r, y - 1.3 * r], [x + r, y + 1.3 * r], [x, y + 0.4 * r], [x - r, y + 1.3 * r]]),
    h: () => polygon(pen, [0, 1, 2, 3, 4, 5].map((corner) => [x + 1.2 * r * Math.sin((corner * Math.PI) / 3), y - 1.2 * r * Math.cos((corner * Math.PI) / 3)])),
  };
  (shapes[marker] ?? shapes.o)();
}

/** A small canvas with the marker of a class, hidden from screen readers: the class stands beside it in words. */
export function swatch(name) {
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  const { colour, marker } = look(name);
  canvas.width = canvas.height = 28;
  canvas.className = "swatch";
  canvas.setAttribute("aria-hidden", "true");
  pen.fillStyle = colour;
  addMarker(pen, marker, 14, 14, 8);
  pen.fill();
  return canvas;
}
