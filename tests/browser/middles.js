// The colours of the canvas where the middles of an image's pixels lie on it, row by row.
(high, wide) => {
  const canvas = document.querySelector("#canvas"), { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const found = [];
  for (let row = 0; row < high; row++) {
    for (let column = 0; column < wide; column++) {
      const x = Math.floor((column + 0.5) * width / wide), y = Math.floor((row + 0.5) * height / high);
      found.push(...data.slice(4 * (y * width + x), 4 * (y * width + x) + 3));
    }
  }
  return found;
}
