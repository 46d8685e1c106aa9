"""Summary: what the report of a sweep says beside its trials."""

from pydantic import BaseModel, ConfigDict, Field

from thaw.tuning.report.range import Range
from thaw.tuning.trial import Trial, Values


class Summary(BaseModel):
    """A sweep as a whole."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sweep: str
    """Its id."""
    experiment: str
    """The experiment's name."""
    metric: str
    """What the score is, such as ``val/material/accuracy``; higher is better."""
    seconds: float = Field(ge=0)
    """Time that the sweep ran, over all its attempts."""
    ranges: dict[str, Range]
    """Dotted place -> what was drawn from there, in the order of the space."""
    search: str
    """What chose the values, such as ``tpe``."""
    scheduler: str
    """What stopped trials, such as ``asha``."""
    rungs: tuple[int, ...] = ()
    """Images seen at which the scheduler compared trials; without them they are read off the trials."""
    written: Values = {}
    """What the experiment itself has at the dimensions' places: the values of trial 0."""
    tested: dict[str, dict[str, float]] = {}
    """Task -> metric -> value of the best configuration on the images of ``tested_on``, where it was evaluated."""
    tested_on: str = "test"
    """Which images these are: test or val."""
    anew: str | None = None
    """What is to be known of the model that was tested, where the best configuration was trained anew."""
    paths: dict[str, str] = {}
    """What else the sweep left -> where that is, such as ``best experiment`` -> ``sweeps/x/best.yaml``."""

    def filled(self, trial: Trial) -> Trial:
        """Return trial 0 with the values that the experiment has of itself, so that it shows beside the others."""
        return trial if trial.number or trial.values else trial.model_copy(update={"values": self.written})
