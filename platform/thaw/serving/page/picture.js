// The picture and what is drawn on it, as large as there is room. Places are in pixels of the image as it was sent.

import { paint } from "./rle.js";

const KEPT = 2048; // pixels of the longer side that are kept of larger pictures: as many as are shown
const PAPER = "#181818";
const NONE = 255;

/** A picture that boxes and layers of masks are drawn on. */
export class Picture {
  #frame; #canvas; #bitmap = null; #size = [0, 0]; #boxes = []; #layers = []; #maps = new WeakMap();
  #sheet = document.createElement("canvas");

  constructor(frame, canvas) {
    [this.#frame, this.#canvas] = [frame, canvas];
    new ResizeObserver(() => this.#draw()).observe(frame);
  }

  /** Show a file; return whether this browser can. */
  async show(file) {
    this.#forget();
    let whole;
    try {
      whole = await createImageBitmap(file);
    } catch {
      return false;
    }
    this.#size = [whole.width, whole.height];
    this.#bitmap = await smaller(whole);
    this.#canvas.hidden = false;
    this.#draw();
    return true;
  }

  /** Draw these marks and no others: boxes {box, text, colour}, and layers {runs, colours, shown, cover} of masks. */
  mark(boxes, layers) {
    [this.#boxes, this.#layers] = [boxes, layers];
    this.#draw();
  }

  describe(words) {
    this.#canvas.setAttribute("aria-label", words);
  }

  #forget() {
    this.#bitmap?.close();
    [this.#bitmap, this.#boxes, this.#layers] = [null, [], []];
    this.#canvas.hidden = true;
  }

  #draw() {
    if (!this.#bitmap) return;
    const [wide, high] = this.#size;
    const highest = parseFloat(getComputedStyle(this.#frame).getPropertyValue("--highest")) / 100 * window.innerHeight;
    const scale = Math.min(this.#frame.clientWidth / wide, highest / high);
    const dense = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [Math.max(1, Math.round(wide * scale)), Math.max(1, Math.round(high * scale))];
    const canvas = this.#canvas;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
    const pen = canvas.getContext("2d");
    pen.fillStyle = "#fff"; // as the endpoint sees what is transparent
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(this.#bitmap, 0, 0, canvas.width, canvas.height);
    for (const layer of this.#layers) this.#lay(pen, layer, Math.round(dense));
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    this.#drawBoxes(pen, scale, width, height);
  }

  /** Lay translucent colour on the pixels of masks, and full colour on their edges. */
  #lay(pen, { runs, colours, shown, cover }, reach) {
    if (!shown.includes(true)) return;
    const { width, height } = pen.canvas;
    const near = nearest(this.#mapOf(runs), runs[0].size, width, height);
    const inks = colours.map(channels), share = Math.round(255 * cover);
    const shade = new ImageData(width, height);
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        const kind = near[at];
        if (kind === NONE || !shown[kind]) continue;
        const inner = (x < reach || near[at - reach] === kind) && (x >= width - reach || near[at + reach] === kind)
          && (y < reach || near[at - reach * width] === kind)
          && (y >= height - reach || near[at + reach * width] === kind);
        shade.data.set(inks[kind], 4 * at);
        shade.data[4 * at + 3] = inner ? share : 255;
      }
    }
    [this.#sheet.width, this.#sheet.height] = [width, height];
    this.#sheet.getContext("2d").putImageData(shade, 0, 0);
    pen.drawImage(this.#sheet, 0, 0);
  }

  /** Return the place in the list of masks of every pixel of the image, row by row. */
  #mapOf(runs) {
    if (!this.#maps.has(runs)) {
      const map = new Uint8Array(runs[0].size[0] * runs[0].size[1]).fill(NONE);
      runs.forEach((one, place) => paint(map, one, place));
      this.#maps.set(runs, map);
    }
    return this.#maps.get(runs);
  }

  #drawBoxes(pen, scale, width, height) {
    for (const { box, colour } of [...this.#boxes].reverse()) {
      const [x0, y0, x1, y1] = box.map(place => place * scale);
      for (const [out, thick, ink] of [[2.5, 1, PAPER], [1, 2, colour]]) {
        pen.strokeStyle = ink;
        pen.lineWidth = thick;
        const [left, top] = [Math.max(thick / 2, x0 - out), Math.max(thick / 2, y0 - out)];
        const [right, bottom] = [Math.min(width - thick / 2, x1 + out), Math.min(height - thick / 2, y1 + out)];
        pen.strokeRect(left, top, Math.max(1, right - left), Math.max(1, bottom - top));
      }
    }
    this.#write(pen, scale, width, height);
  }

  /** Write on each box what it is: above it, below it or in it, where that hides no other name. */
  #write(pen, scale, width, height) {
    pen.font = '600 12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
    pen.textBaseline = "middle";
    const taken = [], tall = 18;
    for (const { box, text, colour } of this.#boxes.filter(one => one.text)) {
      const [x0, y0, , y1] = box.map(place => place * scale);
      const long = Math.ceil(pen.measureText(text).width) + 10;
      const left = Math.max(0, Math.min(x0 - 2, width - long));
      const spots = [y0 - 2 - tall, y1 + 2, y0].filter(top => top >= 0 && top + tall <= height);
      const beside = ([x, y, wide], top) => left + long <= x || x + wide <= left || top + tall <= y || y + tall <= top;
      const free = top => taken.every(other => beside(other, top));
      const top = spots.find(free) ?? spots.at(-1) ?? 0;
      taken.push([left, top, long]);
      pen.fillStyle = colour;
      pen.fillRect(left, top, long, tall);
      pen.fillStyle = readable(colour);
      pen.fillText(text, left + 5, top + tall / 2 + 0.5);
    }
  }
}

/** Return a map of (H, W) places at another size: every pixel takes what its middle falls on. */
function nearest(map, [high, wide], width, height) {
  const columns = Uint32Array.from({ length: width }, (_, x) => Math.floor((x + 0.5) * wide / width));
  const near = new Uint8Array(width * height);
  for (let y = 0, at = 0; y < height; y++) {
    const row = Math.floor((y + 0.5) * high / height) * wide;
    for (let x = 0; x < width; x++, at++) near[at] = map[row + columns[x]];
  }
  return near;
}

async function smaller(whole) {
  const share = KEPT / Math.max(whole.width, whole.height);
  if (share >= 1) return whole;
  const size = { resizeWidth: Math.max(1, Math.round(whole.width * share)),
    resizeHeight: Math.max(1, Math.round(whole.height * share)), resizeQuality: "high" };
  const shown = await createImageBitmap(whole, size);
  whole.close();
  return shown;
}

function channels(colour) {
  return [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16));
}

/** Return black or white, whichever stands out more against a colour. */
function readable(colour) {
  const [red, green, blue] = channels(colour);
  return 0.299 * red + 0.587 * green + 0.114 * blue > 100 ? "#000" : "#fff";
}
