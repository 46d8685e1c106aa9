"""Answer over HTTP."""

import argparse
import os
from typing import TYPE_CHECKING

from thaw import arguments
from thaw.verbs.contract import Result

if TYPE_CHECKING:
    from thaw.config.experiment import Cluster
    from thaw.config.serving import Serve

STEP = 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="NAME, NAME@alias or NAME/version")
    parser.add_argument("experiment", nargs="?", help="experiment YAML, for its serve section")
    parser.add_argument("overrides", nargs="*", metavar="place=value")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--replicas", type=int)
    parser.add_argument(
        "--write-config",
        metavar="FILE",
        help="write a config for `serve deploy` or a RayService, and end",
    )
    arguments.add_artifact(parser)
    arguments.add_storage(parser)


def run(options: argparse.Namespace) -> Result:
    chosen = _settings(options)
    if options.write_config:
        return _written(options, chosen)
    _prepare(chosen)
    from thaw.serving import on_ray

    wait_s = _cluster(options).wait_s
    on_ray.serve_until_stopped(options.model, arguments.root(options), chosen, options.artifact, wait_s)
    return Result({"model": options.model, "stopped": True}, [f"{options.model}: stopped"])


def _settings(options: argparse.Namespace) -> "Serve":
    from pydantic import ValidationError

    from thaw.config.serving import Serve
    from thaw.errors import ConfigError

    settings = arguments.experiment(options).serve if options.experiment else Serve()
    given = {key: getattr(options, key) for key in ("host", "port", "replicas") if getattr(options, key) is not None}
    try:
        return Serve.model_validate({**settings.model_dump(), **given})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"--{first['loc'][0]}: {first['msg']} (got {first['input']!r})") from None


def _cluster(options: argparse.Namespace) -> "Cluster":
    from thaw.config.experiment import Cluster

    return arguments.experiment(options).cluster if options.experiment else Cluster()


def _written(options: argparse.Namespace, chosen: "Serve") -> Result:
    """Write the config of an endpoint for a model that exists."""
    from pathlib import Path

    from thaw.errors import ConfigError
    from thaw.registry import store
    from thaw.serving import deployed
    from thaw.storage import open_root, redacted

    root = open_root(arguments.root(options))
    store.resolve(root, options.model)
    if redacted(root.uri) != root.uri:
        raise ConfigError(
            f"--storage {redacted(root.uri)}: holds a secret, which would be written down; leave it to the environment "
            "of the nodes, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    given = deployed.Arguments(model=options.model, storage=root.uri, artifact=options.artifact, serve=chosen)
    Path(options.write_config).write_text(deployed.written(given), encoding="utf-8")
    return Result({"model": options.model, "config": options.write_config}, [f"wrote {options.write_config}"])


def _prepare(chosen: "Serve") -> None:
    """Set what Ray reads from its environment as it is imported and started, where it is started here."""
    from thaw.serving import deployed

    if "RAY_ADDRESS" not in os.environ:
        for name, value in (deployed.LOCAL | deployed.environment(chosen)).items():
            os.environ.setdefault(name, value)
