// A reader of zip files: stored and deflated entries, with limits against zip bombs. Nothing is unpacked before it is read.

const MOST_ENTRIES = 5000;
const MOST_BYTES = 256 * 2 ** 20;
const MOST_RATIO = 200;
const END = 0x06054b50, CENTRAL = 0x02014b50, LOCAL = 0x04034b50;

async function view(file, start, length) {
  return new DataView(await file.slice(start, start + length).arrayBuffer());
}

async function directory(file) {
  const tail = Math.min(file.size, 65_557), start = file.size - tail;
  const bytes = await view(file, start, tail);
  for (let place = tail - 22; place >= 0; place -= 1) {
    if (bytes.getUint32(place, true) !== END) continue;
    return { count: bytes.getUint16(place + 10, true), size: bytes.getUint32(place + 12, true), start: bytes.getUint32(place + 16, true) };
  }
  throw new Error("it is no zip file");
}

/** The files of a zip file: name, size, and `read`, which gives a blob. Errors are sentences. */
export async function entriesOf(file) {
  const { count, size, start } = await directory(file);
  if (count > MOST_ENTRIES) throw new Error(`it holds ${count.toLocaleString("en")} files, at most ${MOST_ENTRIES.toLocaleString("en")} are read`);
  const bytes = await view(file, start, size), entries = [];
  for (let place = 0; place + 46 <= bytes.byteLength && bytes.getUint32(place, true) === CENTRAL;) {
    const entry = parsed(bytes, place);
    if (!entry.name.endsWith("/")) entries.push({ ...entry, read: () => unpacked(file, entry) });
    place += 46 + entry.lengths;
  }
  return entries;
}

function parsed(bytes, place) {
  const short = (offset) => bytes.getUint16(place + offset, true), long = (offset) => bytes.getUint32(place + offset, true);
  const name = new TextDecoder().decode(new Uint8Array(bytes.buffer, place + 46, short(28)));
  return {
    name, encrypted: (short(8) & 1) === 1, method: short(10), packed: long(20), size: long(24),
    at: long(42), lengths: short(28) + short(30) + short(32),
  };
}

async function unpacked(file, entry) {
  if (entry.encrypted) throw new Error("it is encrypted");
  if (entry.size > MOST_BYTES || entry.size > MOST_RATIO * Math.max(entry.packed, 1024)) throw new Error("a file in it is too large when unpacked");
  const head = await view(file, entry.at, 30);
  if (head.byteLength < 30 || head.getUint32(0, true) !== LOCAL) throw new Error("it is damaged");
  const start = entry.at + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const packed = file.slice(start, start + entry.packed);
  if (entry.method === 0) return packed;
  if (entry.method !== 8) throw new Error("it is packed in a way that is not read here");
  return inflated(packed, entry.size);
}

async function inflated(packed, size) {
  const reader = packed.stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader(), parts = [];
  for (let read = 0; ;) {
    const { done, value } = await reader.read().catch(() => { throw new Error("it is damaged"); });
    if (done) return new Blob(parts);
    read += value.length;
    if (read > size) { reader.cancel(); throw new Error("a file in it is larger than it says"); }
    parts.push(value);
  }
}
