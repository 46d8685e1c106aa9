"""Refit: how the best trial of a sweep is trained anew, on the images that it was found with or on more.

With the validation images among those that are learnt from, nothing can say when to stop or which epoch was best. So
what the trial had shown is repeated: each phase as many epochs as it took up to its best one, at the same rates, and
then no more. Nothing is scaled: an epoch sees all images, and with more of them it has more steps.
"""

from collections.abc import Sequence
from typing import Any, Literal

from thaw.config import load as config
from thaw.config.experiment import Experiment, Phase
from thaw.data.dataset import Dataset
from thaw.errors import ConfigError
from thaw.tuning.trial import Trial

Images = Literal["train", "train+val"]
"""What the best trial is trained anew on."""


def check(experiment: Experiment, images: Images | None) -> None:
    """Refuse a search, and what is to come of it, whose models could not be measured.

    Raises:
        ConfigError: they are to be measured on images that would be learnt from.
    """
    if not experiment.train.validates:
        raise ConfigError(
            "train.learn_from: trials are compared on validation images: set it to train; --refit-on train+val learns "
            "from them when the best trial is found"
        )
    if images == "train+val" and experiment.evaluate.split == "val":
        raise ConfigError(
            "evaluate.split: val: --refit-on train+val learns from these images; set it to test, or use --refit"
        )


def experiment_of(experiment: Experiment, best: Trial, images: Images) -> Experiment:
    """Return the experiment to train anew.

    Args:
        experiment: that of the best trial.
    """
    if images == "train" or best.best is None:
        return experiment
    values = experiment.model_dump(mode="json")
    values["train"]["learn_from"] = images
    values["finetune"]["early_stopping"] |= {"patience": None, "monitor": None}
    epochs = [report.epoch for report in best.reports if report.epoch <= best.best.epoch]
    values["finetune"]["phases"] = _cut_off(experiment.finetune.phases, epochs)
    return config.parse(values, experiment.name)


def _cut_off(phases: Sequence[Phase], epochs: Sequence[int]) -> list[dict[str, Any]]:
    """Return the phases that these epochs belong to, each to stop after as many as belong to it.

    Args:
        epochs: counted from 1 over all phases; those that early stopping passed over are missing.
    """
    kept, begun = [], 0
    for phase in phases:
        done = sum(begun < epoch <= begun + phase.epochs for epoch in epochs)
        begun += phase.epochs
        if done:
            kept.append({**phase.model_dump(mode="json"), "stop_after": done if done < phase.epochs else None})
    return kept


def told(best: Trial, images: Images, prepared: Dataset) -> str:
    """Return what is to be known of the model that came of it."""
    if images == "train":
        return f"trained anew as trial {best.number}, to the end of its plan, on the training images"
    epochs = sum(report.epoch <= best.best.epoch for report in best.reports) if best.best else 0
    return (
        f"trained anew as trial {best.number}, for {epochs} epoch{'s' * (epochs != 1)}, as many as took it to its best "
        f"score, on the {prepared.rows('train')} training and the {prepared.rows('val')} validation images; no image "
        "was left to validate on, so that nothing but its test figures says how good it is"
    )
