"""A sweep that never ran: 24 trials with a dimension that only some have, failures, and trials stopped at two rungs."""

import math
import random

from thaw.tuning.report import Range, Summary
from thaw.tuning.trial import Report, Trial, Values

DEPTH, HEAD, BACKBONE = "finetune.phases[1].depth", "finetune.phases[1].rates.head", "finetune.phases[1].rates.backbone"
OPTIMIZER, CLIP = "train.optimizer.type", "train.clip"
RANGES = {
    DEPTH: Range("int", 0, 6),
    HEAD: Range("log", 1e-4, 1e-2),
    BACKBONE: Range("log", 1e-5, 1e-3),
    OPTIMIZER: Range("choice", choices=("adamw", "sgd", "lamb")),
    CLIP: Range("choice", choices=(None, 1.0, "auto & <b>")),
}
WRITTEN: Values = {DEPTH: 2, HEAD: 1e-3, BACKBONE: 1e-4, OPTIMIZER: "adamw", CLIP: None}
SUMMARY = Summary(
    sweep="steel-20261125-1f3a",
    experiment="steel",
    metric="val/defect/accuracy",
    seconds=4312.0,
    ranges=RANGES,
    search="tpe",
    scheduler="asha",
    written=WRITTEN,
    tested={"defect": {"accuracy": 0.9213, "f1_macro": 0.9127}},
    paths={"best experiment": "sweeps/steel-20261125-1f3a/best.yaml", "bundle": "models/steel/4"},
)
_EPOCH_IMAGES, _EPOCHS, _RUNGS = 1200, 9, {1: 0.565, 3: 0.72}
_ERROR = 'Traceback (most recent call last):\n  File "step.py", line 12, in step\nModelError: loss is <nan> & "lost"'


def sweep(count: int = 24) -> list[Trial]:
    """Return the trials; the same ones each time."""
    draw = random.Random(7)
    return [_trial(number, draw) for number in range(count)]


def _values(draw: random.Random) -> Values:
    values: Values = {DEPTH: draw.randint(0, 6), HEAD: 10 ** draw.uniform(-4, -2)}
    if values[DEPTH]:
        values[BACKBONE] = 10 ** draw.uniform(-5, -3)
    return {**values, OPTIMIZER: draw.choice(["adamw", "sgd", "lamb"]), CLIP: draw.choice([None, 1.0, "auto & <b>"])}


def _ceiling(values: Values) -> float:
    rate = abs(math.log10(values[HEAD]) + 2.7)
    backbone = abs(math.log10(values[BACKBONE]) + 3.8) if BACKBONE in values else 1.0
    return 0.94 - 0.10 * rate - 0.05 * backbone - 0.02 * abs(values[DEPTH] - 4) - 0.08 * (values[OPTIMIZER] == "sgd")


def _trial(number: int, draw: random.Random) -> Trial:
    values = _values(draw) if number else {}
    ceiling, start = _ceiling(values or WRITTEN), 170.0 * number
    reports: list[Report] = []
    stage = "finished"
    for epoch in range(1, _EPOCHS + 1):
        if number in (5, 17) and epoch == (3 if number == 5 else 1):
            stage = "failed"
            break
        score = ceiling * (1 - 0.45 * math.exp(-epoch / 1.6)) + draw.gauss(0, 0.006)
        reports.append(_report(epoch, values or WRITTEN, score, start + 38.0 * epoch))
        if number and score < _RUNGS.get(epoch, 0.0):
            stage = "stopped"
            break
    error = {5: _ERROR, 17: "CUDA out of memory"}.get(number)
    return Trial.model_validate(
        {
            "number": number,
            "values": values,
            "stage": stage,
            "reports": reports,
            "seconds": 38.0 * len(reports),
            "error": error,
        }
    )


def _report(epoch: int, values: Values, score: float, at_s: float) -> Report:
    return Report(
        epoch=epoch,
        images=epoch * _EPOCH_IMAGES,
        depth=values[DEPTH],
        score=score,
        metrics={"defect": {"accuracy": score, "f1_macro": score - 0.01}},
        at_s=at_s,
    )
