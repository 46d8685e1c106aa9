// The card of a classification: the class, or that the model abstains, and how likely each class is.

import { byScore, make, percent } from "./dom.js";
import { Bars, panel } from "./parts.js";
import { Thresholds } from "./threshold.js";

const NO_THRESHOLD = "The likeliest class is answered; there is no threshold to move.";

export class Classification {
  boxes = [];
  layers = [];

  constructor(task, head, answer, changed) {
    [this.head, this.answer, this.decides] = [head, answer, head.positive ?? answer.label];
    const has = this.decides in head.thresholds, decides = has ? [this.decides] : [];
    const moved = () => { this.#show(); changed(); return ""; };
    this.thresholds = new Thresholds(head, decides, moved);
    this.answered = make("p", { class: "answer" });
    this.doubt = make("p", { class: "doubt" });
    this.bars = new Bars(answer.scores, this.thresholds, decides);
    const rule = has ? this.thresholds.element : make("p", { class: "soft small" }, NO_THRESHOLD);
    this.element = panel(task, head, [], this.answered, this.doubt, this.bars.element, rule);
    this.#show();
  }

  get said() {
    const { label, unsure } = this.told;
    return `${label}, ${percent(this.answer.scores[label])}${unsure ? "; the model abstains" : ""}`;
  }

  /** Return the answer as the endpoint gave it, or, once the slider was moved, by the same rule from there. */
  #decided() {
    const { scores, label, unsure } = this.answer, { positive } = this.head;
    if (!this.thresholds.moved) return { label, unsure };
    const least = this.thresholds.of(this.decides), near = Math.abs(scores[this.decides] - least) < this.head.unsure;
    if (positive === null) return { label, unsure: near || scores[label] < least };
    const likeliest = byScore(scores).find(name => name !== positive);
    return { label: scores[positive] >= least ? positive : likeliest, unsure: near };
  }

  #show() {
    const { label, unsure } = this.told = this.#decided();
    this.answered.replaceChildren(make("strong", {}, label), ` ${percent(this.answer.scores[label])}`);
    this.doubt.hidden = !unsure;
    if (unsure) this.doubt.replaceChildren(make("strong", {}, "The model abstains. "), this.#why());
    this.bars.show(unsure ? [] : [label]);
  }

  #why() {
    const value = this.answer.scores[this.decides], least = this.thresholds.of(this.decides);
    const why = this.head.positive === null && value < least
      ? `${this.decides} has ${percent(value)}, and ${percent(least)} is asked for.`
      : `${percent(value)} for ${this.decides} is too near to the threshold of ${percent(least)}.`;
    return `${why} A person had better look.`;
  }
}
