// The kept images under --keep: what lies at the service, and how it is deleted.

import { forget, kept } from "./api.js";
import { byId, fill, make } from "./dom.js";
import { confidence, percent, plural, result, title } from "./words.js";

const time = (seconds) => new Date(typeof seconds === "number" ? 1000 * seconds : seconds).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });

function row(item, number) {
  const share = confidence(item.answer), name = item.name ?? `image ${number}`;
  return make("tr", {},
    make("td", {}, make("img", { class: "thumbnail", src: `/v1/kept/${encodeURIComponent(item.id)}/image`, alt: `Kept ${name}`, loading: "lazy", width: 40, height: 40 })),
    make("td", { text: time(item.time) }), make("td", { text: item.model }),
    make("td", { text: `${title(result(item.answer))}${share === null ? "" : `, ${percent(share)}`}` }),
    make("td", { text: item.label ? title(item.label) : "none" }),
    make("td", {}, make("button", { type: "button", class: "button small-button", text: "Delete", "aria-label": `Delete ${name}`, on: { click: () => remove(item.id) } })));
}

async function show() {
  try {
    const items = await kept();
    byId("status").textContent = items.length ? `${plural(items.length, "image")} kept.` : "No image is kept.";
    byId("kept").hidden = items.length === 0;
    fill(byId("rows"), items.map((item, place) => row(item, items.length - place)));
  } catch (error) { alarm(error.message); }
}

function alarm(words) {
  byId("alert").textContent = words;
  byId("alert").hidden = !words;
}

async function remove(id) {
  try {
    await forget(id);
    alarm("");
  } catch (error) { alarm(error.message); }
  await show();
  (byId("rows").querySelector("button") ?? byId("main")).focus();
}

byId("delete-all").addEventListener("click", () => byId("sure").showModal());
byId("sure").addEventListener("close", async () => {
  if (byId("sure").returnValue === "yes") await remove("");
});
await show();
document.documentElement.dataset.ready = "true";
