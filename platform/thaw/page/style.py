"""Style: how pages look, on a desk, on a phone and on paper; and what sorts their tables.

Without the script everything can be read; only sorting is missing.
"""

CSS = """
:root { color-scheme: light dark; --ink: #1b1d21; --soft: #5c626d; --line: #d9dce1; --page: #f5f6f8; --card: #ffffff;
  --accent: #b03c0c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaee; --soft: #a3a9b5; --line: #3a3f48; --page: #15171b;
  --card: #1f2228; --accent: #ff9a66; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", Roboto,
  "DejaVu Sans", sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
p { margin: 0 0 .7rem; overflow-wrap: anywhere; }
.lead { font-size: 1.12rem; max-width: 46rem; }
.soft, figcaption { color: var(--soft); }
.gain { color: var(--accent); font-weight: 600; }
pre { margin: 0; padding: 12px 14px; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  overflow-x: auto; user-select: all; font: 14px/1.5 ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; }
.charts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px; align-items: start; }
.charts > div { display: grid; gap: 16px; min-width: 0; }
.scroll + .charts { margin-top: 16px; }
figure { margin: 0; padding: 14px 16px; background: #ffffff; color: #1b1d21; border: 1px solid var(--line);
  border-radius: 8px; min-width: 0; }
figure figcaption { color: #555b66; font-size: .92rem; margin-bottom: .5rem; overflow-wrap: anywhere; }
figure svg { display: block; width: 100%; height: auto; }
figure svg text { font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif !important; }
main > h3 { margin-top: 1.3rem; }
.scroll { width: fit-content; max-width: 100%; overflow-x: auto; background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; }
.scroll + p { margin-top: .8rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { vertical-align: bottom; color: var(--soft); font-weight: 600; }
tbody tr:last-child td { border-bottom: 0; }
td.text, th.text { text-align: left; }
tr.best td { font-weight: 600; color: var(--accent); }
td.none { color: var(--soft); }
th button { all: unset; cursor: pointer; }
th button:hover, th button:focus-visible { text-decoration: underline; color: var(--ink); }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 4px 16px; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
details { margin: 0 0 .5rem; }
summary { cursor: pointer; overflow-wrap: anywhere; }
.cases { display: flex; flex-wrap: wrap; gap: 10px; margin-top: .7rem; align-items: flex-start; }
.case { padding: 8px; border: 1px solid var(--line); border-radius: 6px; max-width: 100%; min-width: 0; }
.beside { display: flex; flex-wrap: wrap; gap: 8px; align-items: flex-start; }
.picture { width: 160px; min-width: 0; }
.picture img, .picture .none { display: block; }
.picture .none { width: 160px; height: 60px; border: 1px dashed var(--line); border-radius: 4px; color: var(--soft);
  font-size: .8rem; text-align: center; padding-top: 18px; }
.picture span { display: block; font-size: .72rem; line-height: 1.3; color: var(--soft); overflow-wrap: anywhere;
  margin-top: 3px; }
.case .note { font-size: .85rem; margin: 5px 0 0; max-width: 328px; }
.case.one .note { max-width: 160px; }
.more { font-size: .85rem; color: var(--soft); align-self: center; }
details.rest { margin-top: .7rem; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; margin: .6rem 0 0; font-size: .85rem; color: var(--soft); }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border: 1px solid var(--line); }
@media (max-width: 760px) {
  main { padding: 16px 12px 32px; }
  .charts { grid-template-columns: minmax(0, 1fr); gap: 12px; }
  .charts > div { gap: 12px; }
  figure { padding: 10px 8px; }
  th, td { padding: 6px 9px; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: .5rem; }
  .cases { gap: 8px; }
  .case { padding: 5px; }
  .picture, .picture .none { width: 144px; }
  .picture img { max-width: 144px; height: auto; }
  .case.one .note { max-width: 144px; }
}
@media print {
  :root { --ink: #000; --soft: #444; --line: #bbb; --page: #fff; --card: #fff; --accent: #8a2f08; }
  main { padding: 0; max-width: none; }
  figure, tr, pre { break-inside: avoid; }
  h2 { break-after: avoid; }
  .charts { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px; }
  .charts > div { gap: 8px; align-content: start; }
  .scroll, pre { overflow: visible; }
  pre { white-space: pre-wrap; }
  table { font-size: 7.5pt; }
  th, td { padding: 2px 4px; }
  th, td.text { white-space: normal; }
  .case, .picture { break-inside: avoid; }
  .picture, .picture .none { width: 96px; }
  .picture img { max-width: 96px; height: auto; }
  .case.one .note { max-width: 96px; }
}
"""

SCRIPT = """
for (const table of document.querySelectorAll("table.sorts")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = row => row.cells[at].dataset.value ?? row.cells[at].textContent;
      const unset = row => row.cells[at].classList.contains("none");
      const order = new Intl.Collator(undefined, { numeric: false });
      body.append(...[...body.rows].sort((one, two) => {
        if (unset(one) || unset(two)) return unset(one) - unset(two);
        const [a, b] = [key(one), key(two)];
        const compared = isNaN(a) || isNaN(b) ? order.compare(a, b) : a - b;
        return up ? compared : -compared;
      }));
    });
  });
}
"""
