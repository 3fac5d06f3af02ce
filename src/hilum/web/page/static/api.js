// The REST service, as the page uses it. A refused request (429, 503) is sent again after the time that the service names.

const TRIES = 6;

/** What the service answers when it refuses; `message` is its sentence. */
export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

const pause = (seconds, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, 1000 * seconds);
  signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
});

async function sentence(response) {
  try {
    const body = await response.clone().json();
    return body.error ?? body.detail ?? `The service answered ${response.status}`;
  } catch {
    return `The service answered ${response.status}`;
  }
}

/** How long to wait before the request is sent again, in seconds; grows where the service names no time. */
export function waitingTime(response, attempt) {
  const named = Number.parseFloat(response?.headers.get("Retry-After") ?? "");
  return Number.isFinite(named) ? Math.min(Math.max(named, 0.2), 30) : Math.min(0.5 * 2 ** attempt, 8);
}

async function send(url, options, accepted = []) {
  for (let attempt = 0; ; attempt += 1) {
    let response = null;
    try {
      response = await fetch(url, { credentials: "same-origin", ...options });
    } catch (error) {
      if (options.signal?.aborted || attempt + 1 >= TRIES) {
        throw options.signal?.aborted ? error : new Refused(0, "The service does not answer; is hilum serve still running?");
      }
    }
    if (response !== null && (response.ok || accepted.includes(response.status))) return response;
    const again = response === null || response.status === 429 || response.status === 503;
    if (!again || attempt + 1 >= TRIES) throw new Refused(response.status, await sentence(response));
    await pause(waitingTime(response, attempt), options.signal);
  }
}

const withImage = (item, signal) => {
  const body = new FormData();
  body.append("file", item.blob, item.sentName);
  return { method: "POST", body, signal };
};

const query = (given) => {
  const words = new URLSearchParams(Object.entries(given).filter(([, value]) => value !== null && value !== undefined && value !== ""));
  return words.size ? `?${words}` : "";
};

/** The models that can answer; the first is the default. */
export const models = async () => (await send("/v1/models", {})).json();

/** The answer for one image. `kept`: its id where the service keeps images; `notKept`: why it could not keep it. */
export async function predict(item, model, signal) {
  const response = await send(`/v1/predict${query({ model })}`, withImage(item, signal), [422]);
  const body = await response.json();
  const answer = Array.isArray(body) ? body[0] : body;
  if (!answer || answer.model === undefined) throw new Refused(response.status, answer?.error ?? "The service sent no answer");
  return { answer, kept: response.headers.get("Hilum-Kept")?.split(",")[0] || null, notKept: response.headers.get("Hilum-Keep-Error") };
}

/** The grey picture of an image, its longest side at most `side`; `width` and `height` are those of the original. */
export async function preview(item, side, signal) {
  const response = await send(`/v1/preview${query({ side })}`, withImage(item, signal));
  const picture = await createImageBitmap(await response.blob());
  return {
    picture,
    width: Number(response.headers.get("Hilum-Width")) || picture.width,
    height: Number(response.headers.get("Hilum-Height")) || picture.height,
  };
}

/** An attribution map, or a job that makes it. */
export async function explain(item, model, method, target, signal) {
  const response = await send(`/v1/explain${query({ model, method, target })}`, withImage(item, signal));
  return response.json();
}

/** The nearest training images; null with a sentence where the model carries none. */
export async function neighbors(item, model, signal) {
  const response = await send(`/v1/neighbors${query({ model, k: 7 })}`, withImage(item, signal), [409]);
  if (response.status === 409) return { absent: await sentence(response) };
  return response.json();
}

/** Follows a job by server-sent events. `report` gets each state; resolves with the result, rejects with its sentence. */
export function follow(url, report, signal) {
  return new Promise((resolve, reject) => {
    const events = new EventSource(url);
    const end = (settle, value) => { events.close(); settle(value); };
    const read = (event) => {
      const state = JSON.parse(event.data);
      report(state);
      if (state.status === "done") end(resolve, state.result);
      if (state.status === "failed") end(reject, new Refused(500, state.error ?? "The job failed"));
    };
    for (const name of ["message", "queued", "running", "done", "failed"]) events.addEventListener(name, read);
    events.onerror = () => {
      if (events.readyState === EventSource.CLOSED) end(reject, new Refused(0, "The job is gone; ask for the map again"));
    };
    signal?.addEventListener("abort", () => { fetch(url, { method: "DELETE" }); end(reject, signal.reason); }, { once: true });
  });
}

/** Says that the answer for a kept image is not the reader's. */
export const disagree = async (kept, label) => send(`/v1/kept/${encodeURIComponent(kept)}/disagree`, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ label }),
});

/** What is kept, the newest first. */
export const kept = async () => (await send("/v1/kept", {})).json();

/** Deletes one kept image with its answer; all of them for an empty id. */
export const forget = async (id) => send(id ? `/v1/kept/${encodeURIComponent(id)}` : "/v1/kept", { method: "DELETE" });

/** A file of all answers, made by the service and kept by nobody: "answers.csv" or "sheets.pdf". */
export async function exported(name, body) {
  return (await send(`/export/${name}`, { method: "POST", body, headers: { "Content-Type": body.type } })).blob();
}
