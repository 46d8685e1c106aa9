// Run lengths as COCO writes them: column by column, numbers of 5 bits a character; from the fourth on as changes.

/** Write `value` into (H, W) bytes, row by row, wherever the mask of these run lengths is set. */
export function paint(map, runs, value) {
  const [height, width] = runs.size;
  let at = 0, set = false;
  for (const length of numbers(runs.counts)) {
    const end = Math.min(at + length, height * width);
    if (set) {
      let row = at % height, column = (at - row) / height;
      for (; at < end; at++) {
        map[row * width + column] = value;
        if (++row === height) { row = 0; column++; }
      }
    }
    at = end;
    set = !set;
  }
}

function* numbers(text) {
  const told = [];
  let value = 0, shift = 1;
  for (let place = 0; place < text.length; place++) {
    const digit = text.charCodeAt(place) - 48;
    value += (digit & 31) * shift;
    shift *= 32;
    if (digit & 32) continue;
    if (digit & 16) value -= shift;
    if (told.length > 2) value += told[told.length - 2];
    told.push(value);
    yield value;
    value = 0;
    shift = 1;
  }
}
