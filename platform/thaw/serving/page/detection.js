// The card of a detection: what was found, by class, from a threshold on that can be moved.

import { count, make, score } from "./dom.js";
import { Classes, panel, toggle } from "./parts.js";
import { Thresholds } from "./threshold.js";

const CROWDED = 25; // from so many boxes on, names would hide the picture
const COLUMNS = ["class", "score", "left", "top", "right", "bottom"];

export class Detection {
  layers = [];

  constructor(task, head, answer, changed) {
    [this.head, this.answer] = [head, answer];
    const found = head.classes.filter(name => answer.boxes.some(box => box.label === name));
    const drawn = () => { this.#show(); changed(); return count(this.shown.length, "box", "boxes"); };
    this.thresholds = new Thresholds(head, found, drawn);
    this.on = toggle(`Show ${task} on the picture`, "On the picture", true, drawn);
    const few = answer.boxes.filter(box => box.sure).length < CROWDED;
    this.named = toggle("Write names on the boxes", "Names on the boxes", few, drawn);
    this.classes = new Classes(found, head.colours, () => true, drawn);
    this.answered = make("p", { class: "answer" });
    this.rows = make("tbody");
    const content = [this.thresholds.element, this.classes.element, this.named.element, this.#list(task), bounds(head)];
    const any = found.length > 0;
    this.element = panel(task, head, any ? [this.on.element] : [], this.answered, ...(any ? content : []));
    this.#show();
  }

  get said() {
    return this.counts.map(([name, many]) => `${many} ${name}`).join(", ") || "nothing";
  }

  #show() {
    const all = this.answer.boxes;
    const reached = all.filter(box => this.thresholds.reached(box.label, box.score, box.sure));
    const of = (boxes, name) => boxes.filter(box => box.label === name).length;
    this.shown = reached.filter(box => this.classes.has(box.label));
    this.counts = this.classes.names.map(name => [name, of(this.shown, name)]).filter(([, many]) => many);
    for (const name of this.classes.names) this.classes.tell(name, `${of(reached, name)} of ${of(all, name)}`);
    const none = !all.length ? "Nothing was found." : reached.length ? "Hidden." : "Nothing reaches the threshold.";
    this.answered.replaceChildren(this.counts.length ? make("strong", {}, this.said) : none);
    this.rows.replaceChildren(...this.shown.map(row));
    const text = box => (this.named.checked ? `${box.label} ${score(box.score)}` : "");
    const mark = box => ({ box: box.box, text: text(box), colour: this.head.colours[box.label] });
    this.boxes = this.on.checked ? this.shown.map(mark) : [];
  }

  #list(task) {
    const heads = COLUMNS.map((name, at) => make("th", { scope: "col", class: at ? "" : "text" }, name));
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), this.rows);
    const scrolling = { class: "scroll", tabindex: "0", role: "region", "aria-label": `Boxes of ${task}` };
    return make("details", {}, make("summary", {}, "The boxes as a list"), make("div", scrolling, table));
  }
}

function row({ label, score: value, box }) {
  const places = box.map(place => make("td", {}, place.toFixed(0)));
  return make("tr", {}, make("td", { class: "text" }, label), make("td", {}, score(value)), ...places);
}

/** Return how far down the slider can go: what the endpoint does not answer cannot be shown. */
function bounds({ lowest, most }) {
  const least = lowest >= 0.005 ? `boxes that score less than ${score(lowest)}, and ` : "";
  const best = `all but the best ${count(most, "box", "boxes")}`;
  return make("p", { class: "soft small" }, `The endpoint leaves out ${least}${best}.`);
}
