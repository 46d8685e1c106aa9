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
.notes { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 14px; align-items: start; }
.notes .finding { margin: 0; min-width: 0; }
.finding table { font-size: .82rem; }
.finding th, .finding td { padding: 4px 7px; }
.finding .scroll { margin-top: .7rem; }
@media (max-width: 760px) {
  .notes { grid-template-columns: minmax(0, 1fr); gap: 10px; }
  .finding { padding: 10px; }
}
@media print {
  .finding { border-color: #bbb; }
  .finding h3, .finding > p, .legend { break-after: avoid; }
  .notes { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px; }
  .notes .finding { break-inside: avoid; }
}
"""
