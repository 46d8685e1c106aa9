"""Overrides: a trial's values as `thaw train` takes them on the command line."""

import shlex

import yaml

from thaw.tuning.trial import Values


def overrides(values: Values) -> list[str]:
    """Return one override a value, such as ``finetune.phases[1].depth=3``; YAML reads the value back as it was."""
    return [f"{place}={_yaml(value)}" for place, value in values.items()]


def quoted(values: Values) -> str:
    """Return the overrides as lines to put after ``thaw train experiment.yaml``, quoted for a shell."""
    return " \\\n".join(shlex.quote(override) for override in overrides(values))


def _yaml(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**9)
    return text.removesuffix("\n...\n").strip()
