"""Findings of every kind, as checks might make them."""

from thaw.data.dataset import Dataset, Report, Shard
from thaw.data.labels import LabelSchema
from thaw.inspection.finding import Case, Finding

LABELS = {
    "kind": LabelSchema(kind="class", names=("a", "b")),
    "spots": LabelSchema(kind="boxes", names=("red", "blue")),
}
_COUNTS = {"kind": {"a": 6, "b": 2}, "spots": {"red": 5, "blue": 0}}

PREPARED = Dataset(
    name="made",
    fingerprint="0123456789ab",
    labels=LABELS,
    splits={
        "train": (Shard(file="train-00000.parquet", rows=8),),
        "val": (Shard(file="val-00000.parquet", rows=2),),
        "test": (),
    },
    report=Report(
        listed=12,
        rejected={"truncated": 2},
        set_aside={"box_outside": 1},
        classes=dict.fromkeys(("train", "val", "test"), _COUNTS),
        labelled={"train": {"kind": 8, "spots": 4}, "val": {"kind": 2, "spots": 0}, "test": {"kind": 0, "spots": 0}},
        warnings=(),
    ),
)


def finding(name: str = "copies", level: str = "warning", **values: object) -> Finding:
    """Return a finding of which only what matters is said."""
    usual = {"told": f"3 of 10 images are {name}.", "advice": "Mend them.", "count": 3}
    return Finding.model_validate({"name": name, "level": level, **usual, **values})


def cases(number: int, beside: int = 1) -> tuple[Case, ...]:
    """Return so many cases of different images."""
    return tuple(Case(images=tuple(f"{place}-{other}.png" for other in range(beside))) for place in range(number))
