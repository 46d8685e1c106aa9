// Cards: one for each task. A card has an element, what it draws on the picture (boxes, layers), and what it says.

import { Classification } from "./classification.js";
import { Detection } from "./detection.js";
import { count, listed, make } from "./dom.js";
import { Multilabel } from "./multilabel.js";
import { panel } from "./parts.js";
import { Segmentation } from "./segmentation.js";

const CARDS = {
  classification: Classification, multilabel: Multilabel, detection: Detection, segmentation: Segmentation,
};
const SAYS = { classification: "One of", multilabel: "Any of", detection: "Boxes of", segmentation: "Pixels of" };

/** Return the card of a task's answer; `changed` is called whenever it is to be drawn otherwise. */
export function card(task, head, answer, changed) {
  return new CARDS[head.type](task, head, answer, changed);
}

/** Return the card of a task before there is an answer: what it can say. */
export function promise(task, head) {
  const number = count(head.classes.length, "class", "classes");
  return panel(task, head, [], make("p", { class: "soft" }, `${SAYS[head.type]} ${number}: ${listed(head.classes)}`));
}
