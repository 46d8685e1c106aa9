"""Reports of evaluations and of comparisons: figures with intervals, curves, and images that tell most."""

from collections.abc import Mapping, Sequence

from thaw.bundle import Description
from thaw.data.labels import LabelSchema
from thaw.evaluation.comparison import Comparison
from thaw.evaluation.evaluate import Answered, Scores
from thaw.evaluation.pictures import Drawn
from thaw.evaluation.report import comparison
from thaw.evaluation.report.page import Part, page
from thaw.registry.record import RunRecord
from thaw.storage import Root


def publish(
    root: Root,
    scores: Scores,
    parts: Mapping[str, Part],
    drawn: Drawn,
    described: Description,
    record: RunRecord,
    dataset: str,
) -> None:
    """Write the page of an evaluation.

    Args:
        dataset: whose images were answered, below the root.
        parts: what is shown of each task beside its figures.
        drawn: pictures of the images that are shown.
    """
    facts = {
        "model": f"{scores.model} as {scores.artifact}" if scores.artifact else scores.model,
        "run": f"{record.id}, begun {record.created}",
        "backbone": described.model.backbone,
        "dataset": dataset,
        "learnt from": f"the {record.experiment['train']['learn_from']} images of {record.dataset}",
        "commit": record.git_commit or "unknown",
        "answers": scores.answers,
    }
    root.write_bytes(scores.report, page(scores, parts, drawn, described.labels, facts).encode())


def publish_comparison(
    root: Root,
    path: str,
    found: Comparison,
    answers: Sequence[Answered],
    drawn: Drawn,
    labels: Mapping[str, LabelSchema],
) -> None:
    """Write the page of a comparison.

    Args:
        path: of the page, below the root.
        answers: of both models.
        drawn: pictures of the images whose answers changed.
        labels: of the tasks that both models have.
    """
    root.write_bytes(path, comparison.page(found, answers, drawn, labels).encode())
