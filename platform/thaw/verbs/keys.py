"""Say who may ask endpoints: add, list, rotate and revoke keys.

A key is printed once, when it is made; the store keeps its hash alone.
"""

import argparse
import math
from datetime import timedelta
from typing import TYPE_CHECKING

from thaw import arguments
from thaw.verbs.contract import Result

if TYPE_CHECKING:
    from thaw.storage import Root

STEP = 7
_ACTIONS = ("add", "list", "rotate", "revoke")
_MOST_HOURS = 24 * 366.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=_ACTIONS)
    parser.add_argument("name", nargs="?", help="lower-case letters, digits, - and _")
    parser.add_argument("--scope", choices=["predict", "admin"], default="predict", help="of a key that is added")
    parser.add_argument("--rate", help="most requests to each replica, such as 100/min; s, min or h")
    parser.add_argument(
        "--grace",
        type=_hours,
        default=24.0,
        metavar="HOURS",
        help="how long a rotated key stays good; 24 when left out",
    )
    arguments.add_storage(parser)


def run(options: argparse.Namespace) -> Result:
    from thaw.errors import ConfigError
    from thaw.storage import open_root

    root = open_root(arguments.root(options))
    if options.action == "list":
        return _list(root)
    if not options.name:
        raise ConfigError(f"thaw keys {options.action}: name a key, as in `thaw keys {options.action} shop`")
    return {"add": _add, "rotate": _rotate, "revoke": _revoke}[options.action](root, options)


def _hours(text: str) -> float:
    value = float(text)
    if not 0 <= value <= _MOST_HOURS or math.isnan(value):
        raise ValueError(text)
    return value


def _add(root: "Root", options: argparse.Namespace) -> Result:
    from thaw.console import say
    from thaw.serving import audit, keys

    token = keys.add(root, options.name, options.scope, options.rate)
    audit.note("keys.add", audit.user(), key=options.name, scope=options.scope, rate=options.rate)
    say(f"key {options.name} may {options.scope}; it is shown this once: send it as `authorization: Bearer KEY`")
    told = {"name": options.name, "scope": options.scope, "rate": options.rate, "key": token}
    return Result(told, [token])


def _rotate(root: "Root", options: argparse.Namespace) -> Result:
    from thaw.console import say
    from thaw.serving import audit, keys

    token, until = keys.rotate(root, options.name, timedelta(hours=options.grace))
    audit.note("keys.rotate", audit.user(), key=options.name, until=until.isoformat(timespec="seconds"))
    say(f"key {options.name} is a new one, shown this once; the one before it is good until {until:%Y-%m-%d %H:%M} UTC")
    return Result({"name": options.name, "former_until": until.isoformat(), "key": token}, [token])


def _revoke(root: "Root", options: argparse.Namespace) -> Result:
    from thaw.serving import audit, keys

    keys.revoke(root, options.name)
    audit.note("keys.revoke", audit.user(), key=options.name)
    told = f"{options.name}: revoked; endpoints refuse it within serve.follow_seconds"
    return Result({"name": options.name, "revoked": True}, [told])


def _list(root: "Root") -> Result:
    from thaw.serving import keys

    found = keys.read(root).keys
    told = [one.model_dump(mode="json", exclude={"sha256", "former"}) | {"name": name} for name, one in found.items()]
    lines = [
        f"{name:<24} {one.scope:<8} {one.rate or 'no limit':<12} since {one.created:%Y-%m-%d}"
        for name, one in found.items()
    ]
    return Result({"keys": told}, lines or ["no keys; make one with `thaw keys add NAME`"])
