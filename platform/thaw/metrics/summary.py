"""Summary: a model's metrics as lines for a person. Nothing is left out of records and ``--json`` because of it.

Figures of one class stand on a line of their own, or those of many classes would drown the few that count.
"""

from collections.abc import Collection, Mapping

_OF_A_CLASS = {"iou_": "iou", "ap50_": "ap50"}
"""Beginning of a metric's name that a class follows -> what it is called."""


def overall(values: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics that are of a task as a whole."""
    return {name: value for name, value in values.items() if not name.startswith(tuple(_OF_A_CLASS))}


def by_class(values: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return metric -> class -> value, for the metrics that are of one class each."""
    found = {
        metric: {name.removeprefix(start): value for name, value in values.items() if name.startswith(start)}
        for start, metric in _OF_A_CLASS.items()
    }
    return {metric: classes for metric, classes in found.items() if classes}


def is_of_a_class(metric: str, names: Collection[str]) -> bool:
    """Return whether a metric is one of those that are of one class each."""
    return any(metric.startswith(start) and metric.removeprefix(start) in names for start in _OF_A_CLASS)


def lines(metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a line a task with its figures, and below it one with those of its classes."""
    told = []
    for task, values in metrics.items():
        told.append(f"  {task:<12} " + "  ".join(f"{name} {value:.3f}" for name, value in overall(values).items()))
        for metric, classes in by_class(values).items():
            told.append(f"{'':<15}{metric}: " + ", ".join(f"{name} {value:.3f}" for name, value in classes.items()))
    return told
