// Colours of attribution maps. Positive maps: a perceptual ramp that colour-blind readers can follow (inferno without its black end).
// Signed maps: blue against, orange for, clear at zero, as in the report.

const RAMP = [[66, 10, 104], [106, 23, 110], [147, 38, 103], [188, 55, 84], [221, 81, 58], [243, 120, 25], [252, 165, 10], [246, 215, 70], [252, 255, 164]];
const AGAINST = [60, 150, 255], FOR = [255, 128, 20];

/** Red, green, blue, 0 to 255, at a share 0 to 1 of the ramp. */
export function ramp(share) {
  const place = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1), low = Math.min(Math.floor(place), RAMP.length - 2), part = place - low;
  return RAMP[low].map((value, channel) => Math.round(value + part * (RAMP[low + 1][channel] - value)));
}

/** For each grey of a map the colour with its opacity, 256 x 4 bytes. `low`, `high`: what grey 0 and 255 stand for. */
export function table(low, high) {
  const colours = new Uint8ClampedArray(1024), most = Math.max(Math.abs(low), Math.abs(high)) || 1;
  for (let grey = 0; grey < 256; grey += 1) {
    const value = low + ((high - low) * grey) / 255, strength = low < 0 ? Math.abs(value) / most : grey / 255;
    const rgb = low < 0 ? (value < 0 ? AGAINST : FOR) : ramp(strength);
    colours.set([...rgb, 255 * Math.min(1, 1.25 * strength)], 4 * grey);
  }
  return colours;
}

/** A grey map as a picture in colour that is clear where there is no evidence. */
export function coloured(map, low, high) {
  const canvas = new OffscreenCanvas(map.width, map.height), pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(map, 0, 0);
  const pixels = pen.getImageData(0, 0, map.width, map.height), colours = table(low, high);
  for (let place = 0; place < pixels.data.length; place += 4) {
    const shown = pixels.data[place + 3] / 255, entry = 4 * pixels.data[place];
    for (let channel = 0; channel < 3; channel += 1) pixels.data[place + channel] = colours[entry + channel];
    pixels.data[place + 3] = shown * colours[entry + 3];
  }
  pen.putImageData(pixels, 0, 0);
  return canvas.transferToImageBitmap();
}

/** Draws the scale of a map from left to right. */
export function drawScale(canvas, low, high) {
  const pen = canvas.getContext("2d"), colours = table(low, high), { width, height } = canvas;
  pen.fillStyle = "#6e6e6e";
  pen.fillRect(0, 0, width, height);
  for (let x = 0; x < width; x += 1) {
    const entry = 4 * Math.round((255 * x) / (width - 1));
    pen.fillStyle = `rgba(${colours[entry]}, ${colours[entry + 1]}, ${colours[entry + 2]}, ${colours[entry + 3] / 255})`;
    pen.fillRect(x, 0, 1, height);
  }
}

/** "data:image/png;base64,..." as a picture. */
export async function pictureOf(data) {
  const bytes = Uint8Array.from(atob(data.split(",")[1]), (letter) => letter.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type: data.slice(5, data.indexOf(";")) }));
}
