"""A dataset of boards as preparing leaves it, made in this process: boxes, masks and classes, some without labels."""

import json

from thaw.config import load
from thaw.config.experiment import Experiment
from thaw.data import check, dataset, facts, prepare
from thaw.data.dataset import Dataset
from thaw.data.shards import shard_table
from thaw.storage import Root

EXPERIMENT = {
    "name": "few",
    "data": {
        "source": {"type": "boards", "images": 16, "size": 64},
        "split": {"val": 0.2, "test": 0.2},
        "shard_images": 8,
    },
    "tasks": {
        "verdict": {"type": "classification"},
        "defects": {"type": "detection"},
        "copper": {"type": "segmentation"},
    },
}


def experiment(**data: object) -> Experiment:
    """Return the experiment, with some settings of its data."""
    return load.parse({**EXPERIMENT, "data": {**EXPERIMENT["data"], **data}}, "test")


def prepared(root: Root, chosen: Experiment) -> Dataset:
    """Prepare the dataset of an experiment without a cluster."""
    source = prepare.open_source(chosen.data.source)
    references = list(source.references())
    found = check.examine(source, check.questions(chosen, references), chosen.data.limits)
    plan = prepare.plan(chosen, references, list(found))
    path = plan.dataset.path
    for file, rows in plan.rows.items():
        table = shard_table(source, rows, plan.dataset.labels, chosen.data.reencode, chosen.data.limits)
        dataset.write_shard(root, f"{path}/{file}", table)
    facts.write(root, path, plan.facts)
    aside = [*plan.rejected, {"id": "gone.png", "reason": "truncated", "detail": "ends \u2028early"}]
    root.write_bytes(f"{path}/rejected.jsonl", "".join(json.dumps(one) + "\n" for one in aside).encode())
    plan.dataset.save(root)
    return plan.dataset
