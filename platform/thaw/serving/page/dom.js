// Elements and words: everything shown is put in as text, so nothing that comes from a model or a file is markup.

/** Return an element with properties and children; children that are strings become text. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

/** Return a share of one for people: neither certainty nor nothing where there is a little of either. */
export function percent(share, digits = 1) {
  const least = 10 ** -digits;
  const text = value => `${value.toFixed(digits)}\u202f%`;
  if (share > 0 && 100 * share < least / 2) return `< ${text(least)}`;
  if (share < 1 && 100 * share > 100 - least / 2) return `> ${text(100 - least)}`;
  return text(100 * share);
}

/** Return a score as thresholds are written: two digits, or as many as tell a small one from none. */
export function score(value) {
  return value > 0 && value < 0.01 ? value.toPrecision(1) : value.toFixed(2);
}

export function count(number, noun, plural = `${noun}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? noun : plural}`;
}

export function bytes(number) {
  if (number < 2 ** 10) return `${number} bytes`;
  return number < 2 ** 20 ? `${Math.round(number / 2 ** 10)} KB` : `${(number / 2 ** 20).toFixed(1)} MB`;
}

export function duration(seconds) {
  return seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`;
}

/** Return names as a sentence has them, the rest counted. */
export function listed(names, most = 12) {
  const shown = names.slice(0, most).join(", ");
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}

export function byScore(scores) {
  return Object.keys(scores).sort((one, other) => scores[other] - scores[one]);
}
