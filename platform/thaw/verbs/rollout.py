"""Try a version of a model on a share of the requests; it is taken back by itself where it is not good enough."""

import argparse
from typing import TYPE_CHECKING

from thaw import arguments
from thaw.verbs.contract import Result

if TYPE_CHECKING:
    from thaw.serving.rollout.kept import Figures, Record
    from thaw.serving.rollout.plan import Kind
    from thaw.storage import Root

STEP = 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="NAME/version to try it; NAME to see what is tried, or to end it")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--canary", type=_share, metavar="SHARE", help="of the requests that it answers, such as 0.1")
    what.add_argument("--shadow", type=_share, metavar="SHARE", help="of the requests that it is asked too, unseen")
    what.add_argument("--status", action="store_true", help="what is tried, or was last; the default")
    what.add_argument("--stop", action="store_true", help="end it, and let the alias go on as it is")
    what.add_argument("--promote", action="store_true", help="end it, and move the alias to the version")
    parser.add_argument(
        "--bounds",
        nargs="+",
        type=_bound,
        default=[],
        metavar="FIELD=VALUE",
        help="in place of the endpoint's own of serve.rollout, such as max_disagreement=0.05",
    )
    parser.add_argument("--alias", default="champion", help="endpoints that follow it try the version")
    arguments.add_storage(parser)


def run(options: argparse.Namespace) -> Result:
    from thaw.registry import store
    from thaw.serving import audit
    from thaw.serving.rollout import kept
    from thaw.storage import open_root

    root = open_root(arguments.root(options))
    share = options.canary or options.shadow
    if share:
        name = store.resolve(root, options.model).name
        kind: Kind = "canary" if options.canary else "shadow"
        tried = kept.begin(root, options.model, kind, share, dict(options.bounds), options.alias)
        facts = {"model": name, "version": tried.version, "alias": tried.alias, "share": share}
        audit.note(f"rollout.{kind}", audit.user(), **facts)
        line = f"{name}/{tried.version} is tried as a {tried.kind} of {share:g} of {name}@{tried.alias}"
        return Result({"model": name, **tried.model_dump(mode="json")}, [line])
    name = options.model.partition("/")[0].partition("@")[0]
    store.check_name(root, name)
    return _ended(root, name, options.promote) if options.stop or options.promote else _status(root, name)


def _status(root: "Root", name: str) -> Result:
    """Return what is tried or was last; code 1 where that was found unfit."""
    from thaw.serving.rollout import kept

    tried = kept.read(root, name)
    record = kept.record_of(root, name, tried.id) if tried else kept.last(root, name)
    values = {
        "model": name,
        "tried": tried.model_dump(mode="json") if tried else None,
        "record": record.model_dump(mode="json") if record else None,
    }
    lines = (
        [f"{name}/{tried.version} is tried as a {tried.kind} of {tried.share:g} since {tried.started}"] if tried else []
    )
    lines += _lines(record) if record else []
    return Result(values, lines or [f"{name}: no version was tried yet"], code=1 if record and record.bad else 0)


def _ended(root: "Root", name: str, promote: bool) -> Result:
    """End what is tried.

    Raises:
        StorageError: nothing is.
    """
    from thaw.errors import StorageError
    from thaw.serving import audit
    from thaw.serving.rollout import kept

    if not promote and kept.remove_unreadable(root, name):
        return Result({"model": name, "record": None}, [f"{name}: what was kept was no rollout, and is removed"])
    record = kept.finish(root, name, "promoted" if promote else "stopped")
    if record is None:
        raise StorageError(f"{name}: no version is tried; `thaw rollout {name}/VERSION --canary 0.1` begins")
    audit.note(f"rollout.{record.outcome}", audit.user(), model=name, version=record.version, alias=record.alias)
    return Result({"model": name, "record": record.model_dump(mode="json")}, _lines(record))


def _lines(record: "Record") -> list[str]:
    ended = f", {record.ended}" if record.ended else ""
    return [
        f"{record.model}/{record.version} {record.kind} of {record.share:g}: {record.outcome.replace('_', ' ')}{ended}",
        *(f"  {reason}" for reason in record.reasons),
        *map(_counted, record.figures),
    ]


def _counted(of: "Figures") -> str:
    failed = ", ".join(f"{number} {kind}" for kind, number in of.failed.items()) or "none"
    told = [f"  version {of.version}: {of.answered} answered, {failed} failed"]
    told += [f"95 % within {of.p95_s:.3f} s"] if of.p95_s is not None else []
    told += [f"unsure of {of.abstained:.3f}"] if of.abstained is not None else []
    told += [f"{of.disagreement:.3f} of {of.compared} otherwise"] if of.disagreement is not None else []
    return ", ".join(told)


def _share(text: str) -> float:
    value = arguments.positive(text)
    if value > 1:
        raise ValueError(text)
    return value


def _bound(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value)
