"""Answer over HTTP."""

import argparse

from thaw import arguments
from thaw.verbs.contract import Result

STEP = 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="NAME, NAME@alias or NAME/version")
    parser.add_argument("experiment", nargs="?", help="experiment YAML, for its serve section")
    parser.add_argument("overrides", nargs="*", metavar="place=value")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--replicas", type=int)
    arguments.add_artifact(parser)
    arguments.add_storage(parser)


def run(options: argparse.Namespace) -> Result:
    from pydantic import ValidationError

    from thaw.config.serving import Serve
    from thaw.errors import ConfigError
    from thaw.serving import on_ray

    settings = arguments.experiment(options).serve if options.experiment else Serve()
    given = {key: getattr(options, key) for key in ("host", "port", "replicas") if getattr(options, key) is not None}
    try:
        chosen = Serve.model_validate({**settings.model_dump(), **given})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"--{first['loc'][0]}: {first['msg']} (got {first['input']!r})") from None
    on_ray.serve_until_stopped(options.model, arguments.root(options), chosen, options.artifact)
    return Result({"model": options.model, "stopped": True}, [f"{options.model}: stopped"])
