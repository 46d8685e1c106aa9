// The card of a segmentation: which share of the picture is of which class, and masks to lay on it.

import { byScore, make, percent } from "./dom.js";
import { Classes, panel, toggle } from "./parts.js";

const NO_THRESHOLD = "Every pixel is of its likeliest class; there is no threshold to move.";

export class Segmentation {
  boxes = [];

  constructor(task, head, answer, changed) {
    [this.head, this.answer] = [head, answer];
    this.names = byScore(answer.areas).filter(name => answer.masks[name]);
    this.runs = this.names.map(name => answer.masks[name]);
    const behind = head.background ?? this.names[0]; // what most pixels are of would hide the picture
    const drawn = () => { this.#show(); changed(); };
    this.on = toggle(`Show ${task} on the picture`, "On the picture", true, drawn);
    this.classes = new Classes(this.names, head.colours, name => name !== behind, drawn);
    for (const name of this.names) this.classes.tell(name, percent(answer.areas[name]), answer.areas[name]);
    this.cover = make("input", { type: "range", id: `cover-${task}`, min: 0.1, max: 1, step: 0.05 });
    this.cover.value = 0.4;
    this.cover.addEventListener("input", drawn);
    const cover = make("div", { class: "row cover" }, make("label", { htmlFor: this.cover.id }, "Opacity"), this.cover);
    const rule = make("p", { class: "soft small" }, NO_THRESHOLD);
    const whole = Object.values(answer.areas).reduce((sum, share) => sum + share, 0);
    const unseen = make("p", { class: "soft small" }, `The model does not see all of the picture; ${percent(1 - whole)} `
      + "of it is of no class.");
    const content = [this.classes.element, cover, ...(whole < 0.999 ? [unseen] : []), rule];
    this.element = panel(task, head, [this.on.element], ...content);
    this.#show();
  }

  get said() {
    return this.names.map(name => `${name} ${percent(this.answer.areas[name])}`).join(", ") || "nothing";
  }

  #show() {
    const cover = this.cover.valueAsNumber;
    this.cover.setAttribute("aria-valuetext", percent(cover, 0));
    const shown = this.names.map(name => this.on.checked && this.classes.has(name));
    const colours = this.names.map(name => this.head.colours[name]);
    this.layers = this.names.length ? [{ runs: this.runs, colours, shown, cover }] : [];
  }
}
