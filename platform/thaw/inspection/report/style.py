"""Style: what the page of an inspection has beside the style of all pages."""

CSS = """
.finding { margin: 0 0 14px; padding: 14px 16px; background: var(--card); border: 1px solid var(--line);
  border-left: 5px solid var(--line); border-radius: 8px; }
.finding.gate { border-left-color: #c62828; }
.finding.warning { border-left-color: #d98a00; }
.finding.through { border-left-style: dotted; }
.finding h3 { font-weight: 600; }
.finding > p { max-width: 52rem; }
.finding figure { max-width: 560px; margin: .7rem 0 0; }
.name { font-size: .88rem; color: var(--soft); margin: 0 0 .35rem; }
.tag { display: inline-block; padding: 0 .5em; margin-right: .4em; border: 1px solid currentColor; border-radius: 1em;
  font-size: .8rem; }
.gate .tag { color: #c62828; }
.warning .tag { color: #a86a00; }
@media (prefers-color-scheme: dark) { .gate .tag { color: #ff8a80; } .warning .tag { color: #ffc266; } }
.contents { list-style: none; margin: 0; padding: 0; }
.contents li { padding: 3px 0; overflow-wrap: anywhere; }
.contents a { color: inherit; }
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
.notes { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 14px; align-items: start; }
.notes .finding { margin: 0; min-width: 0; }
.finding table { font-size: .82rem; }
.finding th, .finding td { padding: 4px 7px; }
.finding .scroll { margin-top: .7rem; width: fit-content; max-width: 100%; }
@media (max-width: 760px) {
  .notes { grid-template-columns: minmax(0, 1fr); gap: 10px; }
  .finding { padding: 10px; }
  .cases { gap: 8px; }
  .case { padding: 5px; }
  .picture, .picture .none { width: 144px; }
  .picture img { max-width: 144px; height: auto; }
  .case.one .note { max-width: 144px; }
}
@media print {
  .finding { border-color: #bbb; }
  .case, .picture { break-inside: avoid; }
  .finding h3, .finding > p, .legend { break-after: avoid; }
  .notes { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px; }
  .notes .finding { break-inside: avoid; }
  .picture, .picture .none { width: 96px; }
  .picture img { max-width: 96px; height: auto; }
  .case.one .note { max-width: 96px; }
}
"""
