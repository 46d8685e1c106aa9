// Thresholds: sliders that begin where the endpoint decides, and change what this page shows, not what it answers.

import { make, score } from "./dom.js";

const STEP = 0.01;
let made = 0;

/** The thresholds of some classes: one slider for all where they share one, else one for each. */
export class Thresholds {
  #moved = new Map();

  /** `changed` draws the answer anew and returns, in a word, how much of it is shown. */
  constructor(head, names, changed) {
    this.head = head;
    const starts = new Set(names.map(name => head.thresholds[name]));
    if (starts.size <= 1) this.element = make("div", {}, ...(names.length ? [this.#slider(names, changed)] : []));
    else {
      const each = names.map(name => this.#slider([name], changed));
      const few = names.length <= 3;
      this.element = make("details", { open: few }, make("summary", {}, "A threshold for each class"), ...each);
    }
  }

  get moved() {
    return this.#moved.size > 0;
  }

  of(name) {
    return this.#moved.get(name) ?? this.head.thresholds[name];
  }

  /** Return whether a class is shown: as the endpoint decided, or by the slider where that was moved. */
  reached(name, value, decided) {
    return this.#moved.has(name) ? value >= this.#moved.get(name) : decided;
  }

  #slider(names, changed) {
    const id = `threshold-${++made}`, start = this.head.thresholds[names[0]];
    const least = Math.floor(this.head.lowest / STEP) * STEP;
    const settled = Math.max(least, Math.round(start / STEP) * STEP);
    const what = names.length > 1 || this.head.classes.length === 1 ? "Threshold" : `Threshold of ${names[0]}`;
    const input = make("input", { type: "range", id, min: least, max: 1, step: STEP });
    const told = make("output", { htmlFor: id });
    const mark = make("span", { class: "settled" });
    const back = make("button", { type: "button", class: "small", hidden: true }, "Back");
    back.setAttribute("aria-label", `Back to ${this.#start}`);
    mark.style.setProperty("--at", (settled - least) / (1 - least));
    input.value = settled;
    const show = shown => {
      const at = this.#moved.has(names[0]) ? score(this.#moved.get(names[0])) : `${score(start)}, ${this.#start}`;
      told.value = shown ? `${at}: ${shown}` : at;
      input.setAttribute("aria-valuetext", told.value);
      back.hidden = !this.#moved.has(names[0]);
    };
    input.addEventListener("input", () => {
      const here = Math.abs(input.valueAsNumber - settled) < STEP / 2;
      for (const name of names) here ? this.#moved.delete(name) : this.#moved.set(name, input.valueAsNumber);
      show(changed());
    });
    back.addEventListener("click", () => {
      input.value = settled;
      input.dispatchEvent(new Event("input"));
      input.focus();
    });
    show("");
    return make("div", { class: "slide" },
      make("div", { class: "row" }, make("label", { htmlFor: id }, what), told, back),
      make("div", { class: "rail" }, input, mark));
  }

  get #start() {
    return this.head.settled ? "the operating point" : "the usual threshold";
  }
}
