"""Recipes: named plans, written out as phases while an experiment is read.

A recipe is a short way to write phases, not a way to train: no other module knows of it, and the resolved experiment
holds the phases alone.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PositiveInt, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from thaw.config.parts import Section
from thaw.errors import ConfigError

RecipeName = Literal["head_only", "gradual", "full", "layer_decay", "lora"]

_Rate = Annotated[float, Field(gt=0, le=10)]

_HEADS_ALONE = 3e-3
"""Rate of the heads, where none is given, while everything below them is frozen."""

_OPENED: dict[str, dict[str, float]] = {
    "gradual": {"head": 1e-3, "backbone": 5e-4, "decay": 0.75},
    "full": {"head": 3e-4, "decay": 1.0},
    "layer_decay": {"head": 1e-3, "backbone": 5e-4, "decay": 0.75},
    "lora": {"head": 1e-3, "backbone": 1e-3, "decay": 1.0},
}
"""Rates of the phase that opens layer groups, where none are given; chosen for adamw. Where the backbone has none
here, it learns at the rate of the heads."""


class RecipeRates(Section):
    """Peak learning rates of a recipe, in each of its phases; what is left out is the recipe's own."""

    head: _Rate | None = None
    """Rate of the heads."""
    backbone: _Rate | None = None
    """Rate of the open layer group next to the heads."""
    decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """Each deeper layer group learns at this share of the rate of the group above it."""


class Recipe(Section):
    """A plan by its name, in place of phases."""

    name: RecipeName
    """head_only: nothing but the heads learns. gradual: the heads alone for a quarter of the epochs, then group after
    group opens from the heads down. full: everything learns from the start, at one rate. layer_decay: everything from
    the start, each deeper group at a smaller rate. lora: the heads alone for a quarter of the epochs, on features as
    they were pretrained, then adapters of ``model.lora`` in every group with them."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 13
    """Epochs of all its phases together."""
    rates: RecipeRates = RecipeRates()
    """Left out: heads alone 3e-3; then gradual and layer_decay 1e-3 for the heads and 5e-4, decaying by 0.75, below
    them, full 3e-4, lora 1e-3. They suit adamw; sgd wants larger ones."""
    open_every: PositiveInt | None = None
    """With gradual: epochs after which one more group opens; 1 when left out."""

    @model_validator(mode="after")
    def _ask_for_what_can_be(self) -> Self:
        if self.open_every is not None and self.name != "gradual":
            raise ValueError(f"open_every: {self.name} opens all its groups at once; leave it out, or use gradual")
        if self.epochs < 2 and self.name in ("gradual", "lora"):
            raise ValueError(f"epochs: {self.name} has two phases and needs 2 epochs or more")
        return self


def _as_section(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


RecipeOrName = Annotated[Recipe | None, BeforeValidator(_as_section, json_schema_input_type=RecipeName | Recipe | None)]
"""A recipe, or its name alone."""


def phases(recipe: Recipe) -> list[dict[str, Any]]:
    """Return the phases that a recipe stands for, as a user would write them."""
    alone = {"depth": 0, "rates": {"head": recipe.rates.head or _HEADS_ALONE}}
    if recipe.name == "head_only":
        return [{"epochs": recipe.epochs, **alone}]
    opened: dict[str, Any] = {"depth": "all", "rates": _rates_opened(recipe)}
    if recipe.name in ("full", "layer_decay"):
        return [{"epochs": recipe.epochs, **opened}]
    if recipe.name == "gradual":
        opened["open_every"] = recipe.open_every or 1
    first = max(1, round(recipe.epochs / 4))
    return [{"epochs": first, **alone}, {"epochs": recipe.epochs - first, **opened}]


def _rates_opened(recipe: Recipe) -> dict[str, float]:
    given = recipe.rates.model_dump(exclude_none=True)
    rates: dict[str, float] = {**_OPENED[recipe.name], **given}
    return {"backbone": rates["head"], **rates}


def written_out(finetune: Any) -> Any:
    """Return the plain values of ``finetune`` with a recipe replaced by its phases; all else is returned as it is.

    A recipe that is not valid stays, for its own validation to tell of it.

    Raises:
        PydanticCustomError: there are phases too.
    """
    if not isinstance(finetune, Mapping) or finetune.get("recipe") is None:
        return finetune
    if finetune.get("phases") is not None:
        raise PydanticCustomError("recipe", "recipe and phases are two ways to write the same plan; keep one of them")
    try:
        recipe = Recipe.model_validate(_as_section(finetune["recipe"]))
    except ValidationError:
        return {key: value for key, value in finetune.items() if key != "phases"}
    return {**finetune, "recipe": None, "phases": phases(recipe)}


def with_model(experiment: Any) -> Any:
    """Return the plain values of an experiment with what its recipe asks of the model, where that is left out."""
    finetune = experiment.get("finetune") if isinstance(experiment, Mapping) else None
    asked = _as_section(finetune.get("recipe")) if isinstance(finetune, Mapping) else None
    if not isinstance(asked, Mapping) or asked.get("name") != "lora":
        return experiment
    model = experiment.get("model") or {}
    if not isinstance(model, Mapping) or model.get("lora") is not None:
        return experiment
    return {**experiment, "model": {**model, "lora": {}}}


def as_written(resolved: dict[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Return resolved plain values with the recipe that was written, if one was, in place of what it stands for.

    So an override can change the recipe, and what follows from it is worked out anew.
    """
    recipe = (written.get("finetune") or {}).get("recipe")
    if recipe is None:
        return resolved
    shown = Recipe.model_validate(_as_section(recipe)).model_dump(mode="json")
    finetune = {**resolved["finetune"], "recipe": shown}
    del finetune["phases"]
    lora = (written.get("model") or {}).get("lora")
    return {**resolved, "finetune": finetune, "model": {**resolved["model"], "lora": lora}}


def make_way(values: dict[str, Any], steps: Sequence[str | int], value: Any, told: str) -> Any:
    """Take away what an override replaces, in place: a new recipe the phases, and new phases the recipe.

    Args:
        steps: the place of the override.
        told: what an error begins with.

    Returns:
        The value to be set.

    Raises:
        ConfigError: the override changes a part of the one while the other is there.
    """
    finetune = values.get("finetune")
    if not isinstance(finetune, dict) or len(steps) < 2 or steps[0] != "finetune" or steps[1] not in _EITHER:
        return value
    chosen, (other, advice) = steps[1], _EITHER[steps[1]]
    if len(steps) > 2 and finetune.get(chosen) is None:
        raise ConfigError(f"{told}: {advice}")
    if len(steps) == 2 and value is not None:
        finetune.pop(other, None)
        return _as_section(value) if chosen == "recipe" else value
    return value


_EITHER: dict[str | int, tuple[str, str]] = {
    "recipe": (
        "phases",
        "the plan is written as phases; choose a recipe first, as in finetune.recipe=gradual, which replaces them",
    ),
    "phases": (
        "recipe",
        "the phases come from a recipe; change finetune.recipe.epochs or finetune.recipe.rates, or write out all "
        "phases, as in 'finetune.phases=[{epochs: 3}, {epochs: 10, depth: all}]'",
    ),
}
"""The two ways to write a plan: which one each replaces, and what to do where only the other is there."""
