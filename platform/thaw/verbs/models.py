"""List stored models, or describe a backbone."""

import argparse
from collections.abc import Sequence
from typing import Any

from thaw import arguments
from thaw.verbs import _artifact
from thaw.verbs.contract import Result

STEP = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="a backbone, to list its layer groups and their rates")
    parser.add_argument(
        "--plan",
        nargs="+",
        metavar=("EXPERIMENT", "place=value"),
        help="experiment whose plan to lay over the groups, with overrides; the default plan when left out",
    )
    parser.add_argument("--find", metavar="PATTERN", help="list the backbones that match, such as '*mobilenet*'")
    parser.add_argument(
        "--artifacts", metavar="MODEL", help="list what was exported of NAME, NAME@alias or NAME/version"
    )
    arguments.add_storage(parser)
    _probe_arguments(parser.add_argument_group("choosing a backbone"))


def run(options: argparse.Namespace) -> Result:
    if options.probe:
        return _probe(options)
    if options.artifacts:
        return _artifacts(options)
    if options.find:
        from thaw.backbones import family

        names = family.names(options.find)
        return Result({"backbones": names}, names or [f"no backbone matches {options.find!r}"])
    if options.name or options.plan:
        return _backbone(options.name, options.plan)
    return _stored(options)


def _backbone(name: str | None, plan: Sequence[str] | None) -> Result:
    """Describe a backbone: its layer groups, input side first, and what a plan does to each.

    Args:
        name: left out: the backbone of the plan's experiment.
        plan: an experiment's YAML and overrides; the default plan when left out.
    """
    from thaw.backbones import family
    from thaw.config import load
    from thaw.config.experiment import Finetune
    from thaw.training.outline import Outline

    experiment = load.load(plan[0], plan[1:]) if plan else None
    name = name or (experiment.model.backbone if experiment else "")
    chosen = family.of(name)
    backbone = chosen.create(name, experiment.data.image.size if experiment else chosen.input_size(name))
    finetune = experiment.finetune if experiment else Finetune()
    outline = Outline.of(backbone, name, finetune.phases)
    size = sum(weight.numel() for weight in backbone.parameters())
    lines = [
        f"{name}: {size:,} parameters, {backbone.num_features} features",
        f"peak rates in the plan of {plan[0]}" if plan else "peak rates in the default plan",
        *outline.lines(),
    ]
    return Result({"backbone": name, "features": backbone.num_features, **outline.values()}, lines)


def _probe(options: argparse.Namespace) -> Result:
    """Rank backbones on an experiment's data."""
    from thaw.config import load
    from thaw.errors import ConfigError
    from thaw.probe import candidates, on_ray, table

    if options.name:
        raise ConfigError(f"--probe compares backbones: give {options.name} by --backbones {options.name}")
    place, *overrides = options.probe
    experiment = load.load(place, [*overrides, *arguments.storage_override(options)])
    request = on_ray.Request(
        candidates=candidates.candidates(experiment, options.backbones, options.find, options.weights),
        max_parameters=options.max_params,
        max_latency_ms=options.max_latency_ms,
        max_images=options.max_images,
        fresh=options.fresh,
    )
    ranking = on_ray.rank(experiment, request)
    return Result(ranking.model_dump(mode="json"), table.lines(ranking))


def _artifacts(options: argparse.Namespace) -> Result:
    """List what was exported of a version, with what the gate found and what it costs."""
    from thaw.registry import artifacts, store
    from thaw.storage import open_root

    root = open_root(arguments.root(options))
    found = store.resolve(root, options.artifacts)
    told = {name: artifacts.read(root, found, name) for name in artifacts.names(root, found)}
    model = f"{found.name}/{found.version}"
    lines = [line for one in told.values() for line in _artifact.lines(one)]
    return Result({"model": model, "artifacts": told}, lines or [f"{model} has no artifacts; `thaw export` makes one"])


def _stored(options: argparse.Namespace) -> Result:
    from thaw.registry import store
    from thaw.storage import open_root

    root = open_root(arguments.root(options))
    found: dict[str, Any] = {}
    lines = []
    for name in store.names(root):
        versions, aliases = store.versions(root, name), store.aliases(root, name)
        found[name] = {"versions": versions, "aliases": aliases}
        pointing = "  ".join(f"@{alias} {version}" for alias, version in aliases.items())
        lines.append(f"{name:<24} versions {', '.join(map(str, versions))}  {pointing}")
    return Result({"models": found}, lines or [f"{root}: no models yet"])


def _probe_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--probe",
        nargs="+",
        metavar=("EXPERIMENT", "place=value"),
        help="rank backbones by linear heads on their frozen features of an experiment's images; those that match "
        "--find, those of --backbones, or a list of well-known ones",
    )
    group.add_argument(
        "--backbones", metavar="A,B=WHERE,...", help="what to rank, each with weights of its own if need be"
    )
    group.add_argument(
        "--weights", default="hub", metavar="WHERE", help="hub, package, none, or a folder of NAME.safetensors"
    )
    group.add_argument(
        "--max-params", type=arguments.positive, metavar="N", help="leave out backbones of more weights, such as 10e6"
    )
    group.add_argument(
        "--max-latency-ms", type=arguments.positive, metavar="MS", help="leave out those slower for one image"
    )
    group.add_argument(
        "--max-images", type=arguments.count, metavar="N", help="see at most so many images of each split"
    )
    group.add_argument("--fresh", action="store_true", help="use nothing that earlier calls measured")
