"""Do what another verb does, as a job on a cluster."""

import argparse
from typing import TYPE_CHECKING

from thaw import arguments, catalog
from thaw.verbs.contract import Result

if TYPE_CHECKING:
    from thaw.submission.work import Work

STEP = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--address", help="http://HEAD:8265 of the cluster; RAY_API_SERVER_ADDRESS, or a cluster here, when left out"
    )
    parser.add_argument(
        "--retry",
        type=arguments.count,
        default=0,
        metavar="N",
        help="hand a job that chance ended, such as a dead node, over again, at most N times; train and tune go on "
        "where they were, serve finds its endpoint again",
    )
    parser.add_argument(
        "--shared-path",
        action="store_true",
        help="the storage root is a path at which every node has the same network folder",
    )
    parser.add_argument(
        "--render", choices=("k8s",), help="hand nothing over; print the same work as YAML of KubeRay's RayJob"
    )
    parser.add_argument(
        "--overlay", default="dev", help="with --render: the folder in k8s/overlays whose jobs it is to be like; dev"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="VERB ...", help="as after `thaw`")


def run(options: argparse.Namespace) -> Result:
    work = _work(options)
    if options.render:
        from thaw.submission import rendering

        text = rendering.rayjob(work, options.overlay, options.retry)
        return Result({"yaml": text}, text.splitlines())
    from thaw.submission.attempts import on_ray

    found = on_ray.submit(work, options.address, options.retry, options.shared_path)
    values = {"job": found.job, "status": found.status, "run": work.run, "code": found.exit_code, **found.values()}
    return Result(values, found.result, code=found.exit_code)


def _work(options: argparse.Namespace) -> "Work":
    from thaw.errors import ConfigError
    from thaw.submission.work import Work

    if not options.command:
        raise ConfigError("give the verb that is to be done on the cluster, such as `thaw submit train exp.yaml`")
    name, *given = options.command
    verb = catalog.part("verbs", name.replace("-", "_"))
    parser = argparse.ArgumentParser(prog=f"thaw submit {name}")
    parser.add_argument("--json", action="store_true")
    verb.add_arguments(parser)
    parsed = parser.parse_args(given)
    if options.json and not parsed.json:
        given.append("--json")
    experiment = arguments.experiment(parsed) if getattr(parsed, "experiment", None) else None
    return Work.of(name, given, parsed, experiment)
