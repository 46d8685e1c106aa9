// The endpoint, as this page talks to it. The key is a variable of this module: it is stored nowhere.

let key = "";

export function useKey(value) {
  key = value.trim();
}

/** Why an answer did not come, in words for a person. */
export class Refused extends Error {
  constructor(status, told, retryAfter) {
    super(told.detail || "The endpoint gave no reason.");
    this.status = status;
    this.requestId = told.request_id || "";
    this.retryAfter = retryAfter;
    this.title = TITLES[status] || (status >= 500 ? "The endpoint failed" : "The endpoint refused this");
    this.again = status === 0 || status === 429 || status >= 500;
  }
}

const TITLES = {
  0: "The endpoint cannot be reached",
  400: "This file cannot be answered",
  401: "The endpoint asks for a key",
  403: "This key may not ask for this",
  404: "There is no such model here",
  413: "This picture is too large",
  415: "This file is no picture that is understood here",
  422: "This picture cannot be read",
  429: "Too many pictures at once",
  503: "The endpoint is busy",
  504: "No answer came in time",
};

/** Return what the endpoint says of the model that answers here, or of one version of one model. */
export async function facts(model, version) {
  const place = model === undefined ? "./" : `v2/models/${encodeURIComponent(model)}/versions/${version}`;
  return (await ask(place, { headers: { accept: "application/json" }, cache: "no-store" })).json();
}

/** Return the model card as a document, where a link would not do: links carry no key. */
export async function card(place) {
  const response = await ask(place, { headers: { accept: "text/html" } });
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

export function hasKey() {
  return key !== "";
}

/** Return the answers to a file, and how long they took to come, in seconds, of which so much inside. */
export async function predict(file, signal) {
  const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  const began = performance.now();
  const response = await ask("predict", { method: "POST", body: file, headers: { "content-type": type }, signal });
  const answered = await response.json();
  const inside = timing(response.headers.get("server-timing") || "");
  return { answered, inside, seconds: (performance.now() - began) / 1000 };
}

/** Return name -> seconds of a Server-Timing header. */
function timing(header) {
  return Object.fromEntries([...header.matchAll(/(\w+);dur=([\d.]+)/g)].map(([, name, ms]) => [name, ms / 1000]));
}

async function ask(place, request) {
  if (key) request.headers.authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(place, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const detail = "No connection came about, or it was closed. Is the endpoint running, and are you online?";
    throw new Refused(0, { detail });
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw new Refused(response.status, told, Number(response.headers.get("retry-after")) || 0);
}
