// Parts: what several cards are made of.

import { byScore, count, make, percent } from "./dom.js";

const FEW = 6;

/** Return the frame of a task's card; `aside` stands beside its name. */
export function panel(task, head, aside, ...content) {
  const id = `head-${task}`;
  const name = make("h3", { id }, task);
  const top = make("div", { class: "row head" }, name, make("span", { class: "kind" }, head.type), ...aside);
  return make("section", { class: "panel", "aria-labelledby": id }, top, ...content);
}

export function toggle(spoken, text, checked, changed) {
  const box = make("input", { type: "checkbox", checked, "aria-label": spoken });
  box.addEventListener("change", changed);
  return { element: make("label", { class: "toggle" }, box, text), get checked() { return box.checked; } };
}

function track(share, ...marks) {
  const fill = make("span", { class: "fill" });
  fill.style.setProperty("--share", share);
  return make("span", { class: "track", "aria-hidden": "true" }, fill, ...marks);
}

/** Scores of all classes as bars, the highest first; thresholds of the `marked` ones are marked. */
export class Bars {
  #rows = new Map();

  constructor(scores, thresholds, marked) {
    this.thresholds = thresholds;
    const rows = byScore(scores).map(name => this.#row(name, scores[name], marked.includes(name)));
    const rest = rows.slice(FEW);
    const told = make("summary", {}, count(rest.length, "more class", "more classes"));
    const more = rest.length ? make("details", {}, told, make("ul", { class: "bars" }, ...rest)) : null;
    this.element = make("div", {}, make("ul", { class: "bars" }, ...rows.slice(0, FEW)), more);
  }

  /** Let the classes that are answered stand out. */
  show(answered) {
    for (const [name, { row, spoken, mark }] of this.#rows) {
      row.classList.toggle("on", answered.includes(name));
      spoken.textContent = answered.includes(name) ? ", answered" : "";
      mark?.style.setProperty("--at", this.thresholds.of(name));
    }
  }

  #row(name, value, marked) {
    const mark = marked ? make("span", { class: "mark" }) : null;
    const spoken = make("span", { class: "unseen" });
    const row = make("li", {}, make("span", { class: "name" }, name), track(value, mark),
      make("span", { class: "value" }, percent(value), spoken));
    this.#rows.set(name, { row, spoken, mark });
    return row;
  }
}

/** Classes that are shown and hidden on the picture, each with its colour and a word on it. */
export class Classes {
  #rows = new Map();

  constructor(names, colours, shown, changed) {
    this.names = names;
    this.element = make("ul", { class: "classes" }, ...names.map(name => this.#row(name, colours[name], shown(name))));
    this.element.addEventListener("change", changed);
  }

  has(name) {
    return this.#rows.get(name).box.checked;
  }

  /** Say something of a class, and draw its share where it has one. */
  tell(name, text, share = null) {
    const { value } = this.#rows.get(name);
    value.textContent = text;
    if (share !== null) value.before(track(share));
  }

  #row(name, colour, shown) {
    const box = make("input", { type: "checkbox", checked: shown });
    const swatch = make("i", { "aria-hidden": "true" }), value = make("span", { class: "value" });
    swatch.style.background = colour;
    this.#rows.set(name, { box, value });
    return make("li", {}, make("label", {}, box, swatch, make("span", { class: "name" }, name)), value);
  }
}
