// The page at `/`: a picture goes to the endpoint, and its answers are shown. Nothing is kept.

import { bytes, count, duration, listed, make } from "./dom.js";
import * as endpoint from "./endpoint.js";
import { card, promise } from "./cards.js";
import { Picture } from "./picture.js";

const PATIENCE_MS = 400; // before it says that it waits: most answers are there by then

const MOST = Number(document.getElementById("main").dataset.maxBytes);

const $ = id => document.getElementById(id);
const picture = new Picture($("frame"), $("canvas"));
let facts = null, file = null, cards = [], asking = null, waiting = null;

async function open() {
  try {
    facts = await endpoint.facts();
  } catch (error) {
    return refuse(error, open);
  }
  document.title = `${facts.model} - Thaw`;
  $("model").textContent = facts.model;
  introduce(facts);
  promiseAll();
}

function promiseAll() {
  $("heads").replaceChildren(...Object.entries(facts?.tasks ?? {}).map(([task, head]) => promise(task, head)));
}

function introduce({ model, version, tasks }) {
  $("about").textContent = `Version ${version}. One look at a picture answers ${listed(Object.keys(tasks))}.`;
  $("card").href = `card?model=${encodeURIComponent(model)}&version=${version}`;
}

/** Send a file, and show what comes of it. */
async function ask(chosen) {
  asking?.abort();
  const here = asking = new AbortController();
  file = chosen;
  clear();
  $("file").textContent = `${chosen.name || "pasted picture"}, ${bytes(chosen.size)}`;
  wait(here);
  const shown = picture.show(chosen).then(can => {
    $("empty").hidden = true;
    $("unseen-format").hidden = can;
  });
  try {
    if (chosen.size > MOST) throw tooLarge();
    const { answered, inside, seconds } = await endpoint.predict(chosen, here.signal);
    const told = await factsOf(answered);
    await shown;
    if (asking === here) answer(answered, told, inside, seconds);
  } catch (error) {
    if (asking !== here) return;
    promiseAll();
    if (error.name === "AbortError") say("Cancelled.");
    else refuse(error, () => ask(chosen));
  } finally {
    if (asking === here) rest();
  }
}

/** A browser that is stopped while it sends sees no reason, so the reason is given before. */
function tooLarge() {
  return new endpoint.Refused(413, { detail: `It is larger than the ${bytes(MOST)} that are allowed.` });
}

/** Return what is known of the version that answered, which may be another one than at first. */
async function factsOf({ model, version }) {
  if (facts?.model !== model || facts?.version !== version) facts = await endpoint.facts(model, version);
  return facts;
}

function answer(answered, told, inside, seconds) {
  introduce(told);
  cards = Object.entries(answered.answers).map(([task, one]) =>
    ({ task, view: card(task, told.tasks[task], one, draw) }));
  $("heads").replaceChildren(...cards.map(({ view }) => view.element));
  const rows = [["Model", `${answered.model}, version ${answered.version}`], ["Time", times(inside, seconds)],
    ["Request", answered.request_id]];
  $("facts").replaceChildren(...rows.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
  $("facts").hidden = false;
  draw();
  say(`Answered in ${duration(seconds)}. ${words()}`);
}

function times({ decode, queue, infer }, whole) {
  if ([decode, queue, infer].includes(undefined)) return duration(whole);
  const way = Math.max(0, whole - decode - queue - infer);
  return `${duration(whole)}: reading the picture ${duration(decode)}, waiting ${duration(queue)}, the model `
    + `${duration(infer)}, the way there and back ${duration(way)}`;
}

function words() {
  return cards.map(({ task, view }) => `${task}: ${view.said}.`).join(" ");
}

function draw() {
  picture.mark(cards.flatMap(({ view }) => view.boxes), cards.flatMap(({ view }) => view.layers));
  picture.describe(`${file?.name || "The picture"}. ${words()}`);
}

function clear() {
  cards = [];
  for (const id of ["problem", "key", "facts"]) $(id).hidden = true;
  $("heads").replaceChildren();
}

function wait(here) {
  const began = performance.now();
  const told = () => {
    $("working").hidden = false;
    $("working-what").textContent = `Waiting for the answer, ${Math.floor((performance.now() - began) / 1000)} s`;
  };
  clearInterval(waiting);
  $("answers").setAttribute("aria-busy", "true");
  waiting = setInterval(told, 1000);
  setTimeout(() => {
    if (asking !== here) return;
    told();
    say("Waiting for the answer.");
  }, PATIENCE_MS);
}

function rest() {
  clearInterval(waiting);
  asking = null;
  $("working").hidden = true;
  $("answers").removeAttribute("aria-busy");
}

/** Say why there is no answer, and offer what may help. */
function refuse(error, again) {
  if (!(error instanceof endpoint.Refused)) {
    console.error(error);
    const detail = "This page could not show the answer; the browser's console says more.";
    error = new endpoint.Refused(500, { detail });
  }
  if (error.status === 401) return askForKey(error, again);
  const problem = $("problem"), parts = [make("h2", {}, error.title), make("p", {}, sentence(error.message))];
  if (error.retryAfter) parts.push(make("p", {}, `Try again in ${count(error.retryAfter, "second")}.`));
  if (error.requestId) parts.push(make("p", { class: "soft small" }, "Request ", make("code", {}, error.requestId)));
  if (error.again) {
    const button = make("button", { type: "button" }, "Try again");
    button.addEventListener("click", () => { problem.hidden = true; again(); });
    parts.push(button);
  }
  problem.hidden = false;
  problem.replaceChildren(...parts);
}

async function showCard(event) {
  if (!endpoint.hasKey()) return;
  event.preventDefault();
  try {
    const shown = await endpoint.card($("card").href);
    $("card-text").replaceChildren(...shown.querySelectorAll("main > :not(nav)"));
    $("card-shown").showModal();
  } catch (error) {
    refuse(error, () => showCard(event));
  }
}

function askForKey(error, again) {
  const form = $("key"), value = $("key-value");
  form.hidden = false;
  form.onsubmit = event => {
    event.preventDefault();
    endpoint.useKey(value.value);
    form.hidden = true;
    again();
  };
  if (value.value) {
    $("key-why").textContent = `This key was not accepted: ${sentence(error.message)}`;
    value.select();
  }
  value.focus();
}

function sentence(text) {
  return text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

function say(text) {
  $("said").textContent = text;
}

for (const [button, input] of [["choose", "from-disk"], ["photo", "from-camera"]]) {
  $(button).addEventListener("click", () => $(input).click());
  $(input).addEventListener("change", event => {
    const [chosen] = event.target.files;
    event.target.value = ""; // so that the same file can be chosen again
    if (chosen) ask(chosen);
  });
}
$("card").addEventListener("click", showCard);
$("card-close").addEventListener("click", () => $("card-shown").close());
$("cancel").addEventListener("click", () => asking?.abort());
document.addEventListener("paste", event => {
  const [pasted] = event.clipboardData.files;
  if (pasted) ask(pasted);
});
for (const kind of ["dragenter", "dragover"]) document.addEventListener(kind, event => {
  event.preventDefault();
  $("frame").classList.add("over");
});
document.addEventListener("dragleave", event => { if (!event.relatedTarget) $("frame").classList.remove("over"); });
document.addEventListener("drop", event => {
  event.preventDefault();
  $("frame").classList.remove("over");
  const [dropped] = event.dataTransfer.files;
  if (dropped) ask(dropped);
});
open();
