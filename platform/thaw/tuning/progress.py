"""Progress: what a person reads while a sweep goes on."""

from collections.abc import Mapping

from thaw.tuning.trial import Trial, best_of


def begins(trial: Trial) -> str:
    """Return a line about a trial that begins, or goes on after a restart."""
    drawn = ", ".join(f"{short(place)}={shown(value)}" for place, value in trial.values.items())
    again = f", goes on after epoch {trial.reports[-1].epoch}" if trial.reports else ""
    return f"trial {trial.number} begins{again}: {drawn or 'as written'}"


def ends(trial: Trial, all_trials: Mapping[int, Trial], wanted: int | None, seconds: float) -> str:
    """Return a line about a trial that is over, and where the sweep stands."""
    known = list(all_trials.values())
    best, over = best_of(known), sum(one.stage != "running" for one in known)
    came = f"score {trial.best.score:.4f} in epoch {trial.best.epoch}" if trial.best else "no epoch"
    why = f": {trial.error}" if trial.error else ""
    leader = f"; best {best.best.score:.4f} by trial {best.number}" if best and best.best else ""
    of = f" of {wanted}" if wanted else ""
    epochs = len(trial.reports)
    return (
        f"trial {trial.number} {trial.stage} after {epochs} epoch{'s' * (epochs != 1)}, {came}{why}{leader}; "
        f"{over}{of} done, {seconds / 60:.1f} min"
    )


def short(place: str) -> str:
    """Return a dotted place without the section that most places share."""
    return place.removeprefix("finetune.")


def shown(value: object) -> str:
    """Return a drawn value for a person."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
