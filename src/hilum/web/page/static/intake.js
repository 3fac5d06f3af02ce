// From what was dropped or chosen to images: files, folders, and zip files, which are opened here.

import { plural } from "./words.js";
import { entriesOf } from "./zip.js";

const IMAGES = /\.(jpe?g|png|tiff?|dcm|dicom|dic|ima)$/i;
const MOST = 5000;

const hidden = (path) => path.split("/").some((part) => part.startsWith(".") || part === "__MACOSX");
const suffix = (name) => (name.includes(".") ? `.${name.split(".").pop().toLowerCase()}` : "");
const isZip = (file) => /\.zip$/i.test(file.name) || file.type === "application/zip";

/** What is read from a selection: `images` with a name and a blob, and `notes`, a sentence for what was left out. */
class Selection {
  constructor() {
    this.images = [];
    this.notes = [];
    this.leftOut = new Map();
    this.beyond = 0;
  }

  add(name, blob) {
    if (this.images.length < MOST) this.images.push({ name, blob });
    else this.beyond += 1;
  }

  leaveOut(name) {
    const kind = suffix(name) || "no suffix";
    this.leftOut.set(kind, (this.leftOut.get(kind) ?? 0) + 1);
  }

  finish() {
    const count = [...this.leftOut.values()].reduce((sum, each) => sum + each, 0);
    if (count) this.notes.push(`${plural(count, "file")} left out: no image by the suffix (${[...this.leftOut.keys()].slice(0, 3).join(", ")}).`);
    if (this.beyond) this.notes.push(`${plural(this.beyond, "image")} left out: the list holds ${MOST.toLocaleString("en")}.`);
    return this;
  }
}

/** A DICOM file often has no suffix, or a number. */
const looksLikeImage = (name) => IMAGES.test(name) || suffix(name) === "" || /^\.\d+$/.test(suffix(name));

async function addFile(selection, name, file, chosen) {
  if (isZip(file)) return addZip(selection, file);
  if (!chosen && (hidden(name) || !looksLikeImage(name))) {
    if (!hidden(name)) selection.leaveOut(name);
    return undefined;
  }
  return selection.add(name, file);
}

async function addZip(selection, file) {
  try {
    for (const entry of await entriesOf(file)) {
      if (hidden(entry.name)) continue;
      if (!looksLikeImage(entry.name)) selection.leaveOut(entry.name);
      else selection.add(entry.name.split("/").pop(), await entry.read());
    }
  } catch (error) {
    selection.notes.push(`${file.name} was not read: ${error.message}.`);
  }
}

/** The images among chosen files. A file chosen by itself is always sent; the files of a folder are sifted by suffix. */
export async function fromFiles(files) {
  const selection = new Selection();
  for (const file of files) {
    const path = file.webkitRelativePath || file.name;
    await addFile(selection, path.split("/").pop(), file, !file.webkitRelativePath);
  }
  return selection.finish();
}

const filesOf = (entry) => new Promise((resolve, reject) => entry.file(resolve, reject));

async function* walk(entry) {
  if (entry.isFile) return yield await filesOf(entry);
  const reader = entry.createReader();
  for (;;) {
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) return undefined;
    for (const inner of part.sort((a, b) => (a.name < b.name ? -1 : 1))) yield* walk(inner);
  }
}

/** The images of a drop. Must be called while the event is handled: afterwards the browser forgets what was dropped. */
export async function fromDrop(transfer) {
  const given = [...transfer.items].filter((item) => item.kind === "file")
    .map((item) => ({ entry: item.webkitGetAsEntry?.() ?? null, file: item.getAsFile() }));
  const selection = new Selection();
  for (const { entry, file } of given) {
    if (entry?.isDirectory) {
      for await (const inner of walk(entry)) await addFile(selection, inner.name, inner, false);
    } else if (file) await addFile(selection, file.name, file, true);
  }
  return selection.finish();
}
