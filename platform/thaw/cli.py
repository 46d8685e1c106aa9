"""The command line: one verb a stage, each the same function that its job under ``jobs/`` calls.

Progress goes to stderr, results to stdout; ``--json`` prints exactly one JSON object there. What a user can
mend ends with exit code 2 and one message, without a traceback.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import thaw
from thaw.errors import ThawError
from thaw.metrics import summary

if TYPE_CHECKING:
    from thaw.config.experiment import Experiment
    from thaw.predictor import Answers

EXIT_MENDABLE = 2


@dataclass(frozen=True)
class Result:
    """What a verb came to: plain values for ``--json``, and lines for a person."""

    values: Mapping[str, Any]
    lines: Sequence[str]


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Ray tells of its errors on stdout, which is for results
            result: Result = options.verb(options)
    except ThawError as error:
        print(f"thaw: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_MENDABLE
    except KeyboardInterrupt:
        print("thaw: interrupted", file=sys.stderr)  # noqa: T201
        return 130
    print(json.dumps(result.values, allow_nan=False) if options.json else "\n".join(result.lines))  # noqa: T201
    return 0


def _prepare(options: argparse.Namespace) -> Result:
    from thaw.data import on_ray
    from thaw.storage import open_root

    experiment = _experiment(options)
    prepared = on_ray.prepare(experiment)
    counts = ", ".join(f"{split} {prepared.rows(split)}" for split in prepared.splits)
    place = open_root(experiment.storage.root).shown(prepared.path)
    lines = [f"{place}: {counts}; {sum(prepared.report.rejected.values())} set aside"]
    for task, schema in prepared.labels.items():
        lines.append(f"  {task}: {len(schema.names)} classes, {prepared.report.labelled['train'][task]} labelled")
    return Result({"path": prepared.path, **prepared.model_dump(mode="json")}, lines)


def _train(options: argparse.Namespace) -> Result:
    from thaw.storage import open_root
    from thaw.training import run

    if options.resume:
        root = open_root(_root(options))
        asked = _experiment(options) if options.experiment else None
        experiment = run.resumed(root, options.resume, asked)
    else:
        experiment = _experiment(options)
        root = open_root(experiment.storage.root)
    from thaw.training import on_ray, transfer

    record = on_ray.train(experiment, resume=options.resume)
    compared = on_ray.compare_single(experiment, record) if options.compare_single else []
    lines = [
        f"run {record.id}: {record.epochs_run} epochs in {record.wall_s:.0f} s; best on validation:",
        *summary.lines(record.metrics["val"]),
        f"bundle      {root.shown(str(record.bundle))}",
        f"TensorBoard tensorboard --logdir {root.shown(f'runs/{record.id}')}",
    ]
    if compared:
        lines += ["each task alone, with the same plan on the same images:", *transfer.lines(compared, record.wall_s)]
    values = {**record.model_dump(mode="json"), "alone": [one.model_dump() for one in compared]}
    return Result(values, lines)


def _tune(options: argparse.Namespace) -> Result:
    from thaw.errors import ConfigError
    from thaw.storage import open_root
    from thaw.tuning import on_ray, study, winner
    from thaw.tuning.report import table

    experiment = _experiment(options) if options.experiment else None
    chosen = study.load(options.space) if options.space else None
    if options.trials:
        if chosen is None:
            raise ConfigError("--trials goes with --space: a sweep is continued with as many as it began with")
        chosen = chosen.model_copy(update={"search": chosen.search.model_copy(update={"trials": options.trials})})
    found = on_ray.search(experiment, chosen, _root(options), resume=options.resume, refit=options.refit)
    root = open_root(_root(options))
    number = str(found.record.bundle).removeprefix("models/")
    lines = [
        *table.lines(found.trials, list(found.sweep.study["dimensions"])),
        f"best        trial {found.best.number}; as an experiment: {root.shown(found.experiment)}",
        f"test        {number}, now @{winner.CANDIDATE}, on {found.scores.images} {found.scores.split} images:",
        *summary.lines(found.scores.metrics),
        f"report      {root.shown(found.report)}",
        f"TensorBoard tensorboard --logdir {root.shown(found.sweep.path + '/tensorboard')}",
    ]
    values = {
        "sweep": found.sweep.model_dump(mode="json"),
        "trials": [one.model_dump(mode="json") for one in found.trials],
        "best": found.best.number,
        "run": found.record.id,
        "bundle": found.record.bundle,
        "scores": found.scores.model_dump(mode="json"),
        "experiment": found.experiment,
        "report": found.report,
    }
    return Result(values, lines)


def _lr_find(options: argparse.Namespace) -> Result:
    from thaw.storage import open_root
    from thaw.training.lr_find import on_ray
    from thaw.training.lr_find.finding import Range

    chosen = Range.checked(options.low, options.high, options.steps)
    experiment = _experiment(options)
    found = on_ray.find(experiment, chosen, Path(options.out) if options.out else None)
    overrides = found.finding.overrides(found.depths)
    values = {
        "overrides": overrides,
        "warnings": found.finding.warnings(),
        "picture": found.picture,
        **found.finding.model_dump(mode="json"),
    }
    place = options.out or open_root(experiment.storage.root).shown(found.picture)
    return Result(values, [*found.finding.lines(), f"picture   {place}", "to train with these:", *overrides])


def _evaluate(options: argparse.Namespace) -> Result:
    from thaw.evaluation import on_ray

    experiment = _experiment(options)
    scores = on_ray.evaluate(experiment, options.model or f"{experiment.name}/{_newest(experiment)}")
    lines = [f"{scores.model} on {scores.images} {scores.split} images of dataset {scores.dataset}:"]
    return Result(scores.model_dump(mode="json"), [*lines, *summary.lines(scores.metrics)])


def _promote(options: argparse.Namespace) -> Result:
    from thaw.registry import store
    from thaw.storage import open_root

    root = open_root(_root(options))
    found = store.resolve(root, options.model)
    before = store.set_alias(root, found.name, options.alias, found.version)
    told = {"model": found.name, "alias": options.alias, "version": found.version, "before": before}
    was = f" (was {before})" if before else ""
    return Result(told, [f"{found.name}@{options.alias} is now version {found.version}{was}"])


def _serve(options: argparse.Namespace) -> Result:
    from pydantic import ValidationError

    from thaw.config.experiment import Serve
    from thaw.errors import ConfigError
    from thaw.serving import on_ray

    settings = _experiment(options).serve if options.experiment else Serve()
    given = {key: getattr(options, key) for key in ("host", "port", "replicas") if getattr(options, key) is not None}
    try:
        chosen = Serve.model_validate({**settings.model_dump(), **given})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"--{first['loc'][0]}: {first['msg']} (got {first['input']!r})") from None
    on_ray.serve_until_stopped(options.model, _root(options), chosen)
    return Result({"model": options.model, "stopped": True}, [f"{options.model}: stopped"])


def _predict(options: argparse.Namespace) -> Result:
    from thaw.config.experiment import Limits
    from thaw.evaluation.predict import predict
    from thaw.predictor import as_json

    folder = Path(options.overlay) if options.overlay else None
    found = predict(_root(options), options.model, [Path(image) for image in options.images], Limits(), folder)
    answers = {image: as_json(answer) for image, answer in found.answers.items()}
    lines = []
    for image, answer in found.answers.items():
        drawn = [f"  {found.overlays[image]}"] if folder else []
        lines += [f"{image}: {_brief(answer)}", *drawn]
    lines += [f"{image}: refused: {reason}" for image, reason in found.refused.items()]
    values = {"model": options.model, "answers": answers, "refused": found.refused, "overlays": found.overlays}
    return Result(values, lines)


def _runs(options: argparse.Namespace) -> Result:
    from thaw.console import say
    from thaw.registry import record
    from thaw.storage import open_root

    found = record.runs(open_root(_root(options)))
    for broken in found.unreadable:
        say(f"warning: {broken}")
    lines = [
        f"{one.id}  {one.stage:<9}  {one.epochs_run:>3} epochs {one.wall_s:>6.0f} s  {one.bundle or '-'}  {_best(one)}"
        for one in found.records
    ]
    return Result({"runs": [one.model_dump(mode="json") for one in found.records]}, lines or ["no runs yet"])


def _models(options: argparse.Namespace) -> Result:
    if options.probe:
        return _probe(options)
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
    experiment = load.load(place, [*overrides, *_storage(options)])
    request = on_ray.Request(
        candidates=candidates.candidates(experiment, options.backbones, options.find, options.weights),
        max_parameters=options.max_params,
        max_latency_ms=options.max_latency_ms,
        max_images=options.max_images,
        fresh=options.fresh,
    )
    ranking = on_ray.rank(experiment, request)
    return Result(ranking.model_dump(mode="json"), table.lines(ranking))


def _stored(options: argparse.Namespace) -> Result:
    from thaw.registry import store
    from thaw.storage import open_root

    root = open_root(_root(options))
    found: dict[str, Any] = {}
    lines = []
    for name in store.names(root):
        versions, aliases = store.versions(root, name), store.aliases(root, name)
        found[name] = {"versions": versions, "aliases": aliases}
        pointing = "  ".join(f"@{alias} {version}" for alias, version in aliases.items())
        lines.append(f"{name:<24} versions {', '.join(map(str, versions))}  {pointing}")
    return Result({"models": found}, lines or [f"{root}: no models yet"])


def _schema(_options: argparse.Namespace) -> Result:
    from thaw.config import load

    schema = load.schema()
    return Result(schema, [json.dumps(schema, indent=2)])


def _demo(options: argparse.Namespace) -> Result:
    from thaw import demo

    values, lines = demo.run(_experiment(options))
    return Result(values, lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="thaw", description=str(thaw.__doc__).split("\n", 1)[0])
    parser.add_argument("--version", action="version", version=f"thaw {thaw.__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for name, (verb, arguments, what) in _verbs().items():
        added = verbs.add_parser(name, help=what, description=what)
        added.set_defaults(verb=verb)
        added.add_argument("--json", action="store_true", help="print one JSON object")
        arguments(added)
    return parser


_Verb = tuple[Callable[[argparse.Namespace], Result], Callable[[argparse.ArgumentParser], None], str]


def _verbs() -> Mapping[str, _Verb]:
    """Return what each verb does, the arguments it takes, and what it is for."""
    return {
        "prepare": (_prepare, _experiment_arguments, "check the images and write them as Parquet shards"),
        "train": (_train, _train_arguments, "fine-tune, and register the best checkpoint"),
        "tune": (_tune, _tune_arguments, "search depths, rates and other settings, and register the best as candidate"),
        "lr-find": (_lr_find, _lr_find_arguments, "suggest learning rates, from short trainings at rising ones"),
        "evaluate": (_evaluate, _evaluate_arguments, "measure a model on the test split"),
        "promote": (_promote, _promote_arguments, "point an alias at a version"),
        "serve": (_serve, _serve_arguments, "answer over HTTP"),
        "predict": (_predict, _predict_arguments, "answer for image files"),
        "runs": (_runs, _storage_argument, "list the runs"),
        "models": (_models, _models_arguments, "list stored models, or describe a backbone"),
        "schema": (_schema, lambda _parser: None, "print the JSON Schema of an experiment"),
        "demo": (_demo, _experiment_arguments, "the whole road at once, from images to an answer over HTTP"),
    }


def _experiment_arguments(parser: argparse.ArgumentParser, optional: bool = False) -> None:
    parser.add_argument("experiment", nargs="?" if optional else None, help="experiment YAML")
    parser.add_argument("overrides", nargs="*", metavar="place=value", help="such as finetune.phases[1].depth=3")


def _storage_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--storage", help="storage root; THAW_STORAGE or ./store when left out")


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    _experiment_arguments(parser, optional=True)
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="continue an interrupted run from its last checkpoint; an experiment that would change it is refused",
    )
    parser.add_argument(
        "--compare-single",
        action="store_true",
        help="then train each task alone with the same plan, and tell which tasks lose by sharing the backbone",
    )
    _storage_argument(parser)


def _tune_arguments(parser: argparse.ArgumentParser) -> None:
    _experiment_arguments(parser, optional=True)
    parser.add_argument("--space", metavar="YAML", help="what to search, such as jobs/spaces/unfreeze.yaml")
    parser.add_argument("--trials", type=_count, metavar="N", help="trials in all, in place of the space's own number")
    parser.add_argument("--refit", action="store_true", help="train the best anew, to the end, and register that")
    parser.add_argument("--resume", metavar="SWEEP", help="continue an interrupted sweep from what it has come to")
    _storage_argument(parser)


def _lr_find_arguments(parser: argparse.ArgumentParser) -> None:
    _experiment_arguments(parser)
    parser.add_argument("--steps", type=int, default=100, help="steps of each of the two sweeps (100)")
    parser.add_argument("--from", dest="low", metavar="RATE", type=float, default=1e-6, help="lowest rate (1e-6)")
    parser.add_argument("--to", dest="high", metavar="RATE", type=float, default=1.0, help="highest rate (1)")
    parser.add_argument("--out", metavar="PNG", help="also write the picture there")


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    _experiment_arguments(parser)
    parser.add_argument("--model", help="NAME, NAME@alias or NAME/version; the newest version when left out")


def _promote_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="NAME/version or NAME@alias")
    parser.add_argument("alias", nargs="?", default="champion")
    _storage_argument(parser)


def _serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="NAME, NAME@alias or NAME/version")
    parser.add_argument("experiment", nargs="?", help="experiment YAML, for its serve section")
    parser.add_argument("overrides", nargs="*", metavar="place=value")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--replicas", type=int)
    _storage_argument(parser)


def _predict_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="NAME, NAME@alias or NAME/version")
    parser.add_argument("images", nargs="+", help="image files")
    parser.add_argument("--overlay", metavar="FOLDER", help="also draw the answers on each image, as a PNG there")
    _storage_argument(parser)


def _models_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="a backbone, to list its layer groups and their rates")
    parser.add_argument(
        "--plan",
        nargs="+",
        metavar=("EXPERIMENT", "place=value"),
        help="experiment whose plan to lay over the groups, with overrides; the default plan when left out",
    )
    parser.add_argument("--find", metavar="PATTERN", help="list the backbones that match, such as '*mobilenet*'")
    _storage_argument(parser)
    _probe_arguments(parser.add_argument_group("choosing a backbone"))


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
        "--max-params", type=_positive, metavar="N", help="leave out backbones of more weights, such as 10e6"
    )
    group.add_argument("--max-latency-ms", type=_positive, metavar="MS", help="leave out those slower for one image")
    group.add_argument("--max-images", type=_count, metavar="N", help="see at most so many images of each split")
    group.add_argument("--fresh", action="store_true", help="use nothing that earlier calls measured")


def _positive(text: str) -> float:
    """Return a number above zero, or refuse the argument."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


def _count(text: str) -> int:
    """Return a whole number above zero, or refuse the argument."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def _experiment(options: argparse.Namespace) -> "Experiment":
    from thaw.config import load
    from thaw.errors import ConfigError

    if not options.experiment:
        raise ConfigError("no experiment: give the path of its YAML, such as jobs/configs/boards.yaml")
    return load.load(options.experiment, [*options.overrides, *_storage(options)])


def _storage(options: argparse.Namespace) -> list[str]:
    """Return ``--storage``, where it is given, as the override that it stands for."""
    given = getattr(options, "storage", None)
    return [f"storage.root={json.dumps(given)}"] if given else []


def _root(options: argparse.Namespace) -> str:
    from thaw.config.experiment import default_root

    if options.storage:
        return str(options.storage)
    return _experiment(options).storage.root if getattr(options, "experiment", None) else default_root()


def _newest(experiment: "Experiment") -> int:
    from thaw.errors import StorageError
    from thaw.registry import store
    from thaw.storage import open_root

    versions = store.versions(open_root(experiment.storage.root), experiment.name)
    if not versions:
        raise StorageError(
            f"{open_root(experiment.storage.root)}: no version of {experiment.name} yet; run `thaw train` first"
        )
    return versions[-1]


def _best(record: Any) -> str:
    split = "test" if "test" in record.metrics else "val"
    found = record.metrics.get(split, {})
    return "  ".join(f"{split} {task} {next(iter(values.values())):.3f}" for task, values in found.items() if values)


def _brief(answers: "Answers") -> str:
    """Return the answers to one image on one line."""
    return "  ".join(
        f"{task}: {', '.join(f'{name} {word}' for name, word in one.summary().items()) or '-'}"
        for task, one in answers.items()
    )
