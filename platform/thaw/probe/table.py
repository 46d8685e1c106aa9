"""Table: a ranking for a person, in lines of at most 120 characters but for the reasons under it."""

from collections.abc import Sequence

from thaw.probe.ranking import Ranking, Row

_NAME = 31
_TASKS = 3
"""Tasks that have a column each; of more than these the mean is shown."""


def lines(ranking: Ranking) -> list[str]:
    """Return the table of the ranked, why others are left out, and what the figures are."""
    ranked = [row for row in ranking.rows if not row.left_out]
    told = [f"{ranking.dataset}, {ranking.image_size} px, validation images"]
    if ranked:
        told += [_head(ranking), *(_line(ranking, row) for row in ranked)]
    told += [f"left out: {row.backbone} ({row.weights}): {row.left_out}" for row in ranking.rows if row.left_out]
    return told + _notes(ranking)


def _head(ranking: Ranking) -> str:
    tasks = [_cut(task, 10) for task in ranking.metrics] if _has_columns(ranking) else ["mean"]
    return _joined("backbone", "weights", tasks, ("params M", "GMACs", "ms of 1", "ms of 32", "embed s"))


def _line(ranking: Ranking, row: Row) -> str:
    scores = [row.value(task, metric) for task, metric in ranking.metrics.items()]
    shown = [_figure(one, 4) for one in (scores if _has_columns(ranking) else [ranking.score(row)])]
    mark = "*" if row.disturbed else ""
    facts = (
        _figure(row.parameters and row.parameters / 1e6, 2),
        _figure(row.macs and row.macs / 1e9, 2),
        _figure(row.latency_ms.get(1), 1) + mark,
        _figure(row.latency_ms.get(32), 0) + mark,
        _figure(row.probe.embed_s if row.probe else None, 0),
    )
    return _joined(row.backbone, row.weights, shown, facts)


def _joined(name: str, weights: str, tasks: Sequence[str], facts: Sequence[str]) -> str:
    middle = "".join(f" {one:>10}" for one in tasks)
    return f"{_cut(name, _NAME):<{_NAME}} {weights:<7}{middle}" + "".join(f" {one:>8}" for one in facts)


def _has_columns(ranking: Ranking) -> bool:
    return len(ranking.metrics) <= _TASKS


def _cut(word: str, length: int) -> str:
    return word if len(word) <= length else word[: length - 1] + "…"


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _notes(ranking: Ranking) -> list[str]:
    machine = ranking.machine
    measured = ", ".join(f"{task} by {metric}" for task, metric in ranking.metrics.items())
    told = [f"{task}: {why}" for task, why in ranking.unranked_tasks.items()]
    if measured:
        told.append(f"the best linear head on frozen features: {measured}")
    told.append(f"ms of one batch on {machine.device}, {machine.threads} thread(s), host {machine.host}; median, fp32")
    if any(row.disturbed for row in ranking.rows):
        told.append("* other work had the cores meanwhile: too many milliseconds, measured again next time")
    if any(row.probed_before for row in ranking.rows):
        told.append("embed s is of the call that computed the features; --fresh computes and measures all again")
    return told
