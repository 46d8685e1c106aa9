// The card of a multilabel task: the classes that reach their thresholds, and how likely each class is.

import { byScore, count, listed, make, percent } from "./dom.js";
import { Bars, panel } from "./parts.js";
import { Thresholds } from "./threshold.js";

export class Multilabel {
  boxes = [];
  layers = [];

  constructor(task, head, answer, changed) {
    [this.head, this.answer] = [head, answer];
    const moved = () => { this.#show(); changed(); return count(this.labels.length, "label"); };
    this.thresholds = new Thresholds(head, head.classes, moved);
    this.answered = make("p", { class: "answer" });
    this.doubt = make("p", { class: "doubt" });
    this.bars = new Bars(answer.scores, this.thresholds, head.classes);
    this.element = panel(task, head, [], this.answered, this.doubt, this.bars.element, this.thresholds.element);
    this.#show();
  }

  get said() {
    const labels = this.labels.map(name => `${name} ${percent(this.answer.scores[name])}`).join(", ") || "none";
    return labels + (this.doubts.length ? `; unsure of ${listed(this.doubts)}` : "");
  }

  #show() {
    const { scores, labels, unsure } = this.answer, names = byScore(scores);
    const near = name => Math.abs(scores[name] - this.thresholds.of(name)) < this.head.unsure;
    this.labels = names.filter(name => this.thresholds.reached(name, scores[name], labels.includes(name)));
    this.doubts = names.filter(name => (this.thresholds.moved ? near(name) : unsure.includes(name)));
    this.answered.replaceChildren(
      this.labels.length ? make("strong", {}, this.labels.join(", ")) : "No class reaches its threshold.");
    this.doubt.hidden = !this.doubts.length;
    const words = this.doubts.length > 1 ? "are too near to their thresholds" : "is too near to its threshold";
    this.doubt.replaceChildren(make("strong", {}, "Unsure: "),
      `${listed(this.doubts)} ${words}. A person had better look.`);
    this.bars.show(this.labels);
  }
}
