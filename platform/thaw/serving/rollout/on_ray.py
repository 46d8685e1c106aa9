"""Rollouts on Ray: one process that decides, and what replicas exchange with it.

While it cannot be reached, replicas go on with what they were told last.
"""

import asyncio
import contextlib
import logging
import time
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from thaw.config.rollout import Rollout
from thaw.errors import ThawError
from thaw.serving.rollout.control import Beat, Control
from thaw.serving.rollout.following import Following
from thaw.serving.rollout.plan import Plan
from thaw.serving.watch import metrics
from thaw.serving.watch.drift import figures
from thaw.serving.watch.metrics import Metrics, Snapshot
from thaw.serving.watch.totals import Totals
from thaw.storage import Root

_ANSWER_S = 5.0
"""Seconds after which a process that does not answer is taken for gone."""
_DRIFT_S = 60.0
"""Seconds between two looks at what `thaw drift` has found."""

_log = logging.getLogger("thaw.serving")


@serve.deployment(
    name="Controller", max_ongoing_requests=1000, health_check_period_s=2, ray_actor_options={"num_cpus": 0}
)
class Controller:
    """One process that follows an alias, hears what replicas count, and takes back what is not good enough."""

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits it
        self, root: Root, name: str, alias: str | None, options: dict[str, Any], seconds: float
    ) -> None:
        """Begin.

        Args:
            alias: what is followed; None leaves the replicas at the version that they began with.
            seconds: between two looks at the store.
        """
        self._control = Control(root, name, alias, Rollout.model_validate(options)) if alias else None
        self._totals = Totals()
        self._seconds = seconds
        self._drift: Snapshot = ()
        self._looking = asyncio.create_task(self._look_for_drift(root, name))
        if self._control:
            await asyncio.to_thread(self._control.step)
            self._task = asyncio.create_task(self._follow(self._control))

    async def beat(self, beat: Beat, snapshot: Snapshot) -> Plan | None:
        """Take in what a replica tells, and return what it is to answer by."""
        self._totals.heard(beat.replica, snapshot, time.monotonic())
        return self._control.heard(beat) if self._control else None

    async def metrics(self) -> Snapshot:
        """Return the sums over all replicas, and what is only known here."""
        here = [metrics.gauge("thaw_replicas", "Processes that answer.", {}, self._totals.living(time.monotonic()))]
        if self._control:
            here += self._control.families()
        return (*self._totals.snapshot(), *here, *self._drift)

    async def _look_for_drift(self, root: Root, name: str) -> None:
        """Read again and again what `thaw drift` has left in the store."""
        while True:
            try:
                self._drift = await asyncio.to_thread(figures.families, root, name)
            except ThawError as error:
                _log.warning("what thaw drift found of %s cannot be read: %s", name, error)
            await asyncio.sleep(_DRIFT_S)

    async def _follow(self, control: Control) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await asyncio.to_thread(control.step)
            except Exception:  # noqa: BLE001 - a fault in one look must not end all others
                _log.exception("the rollout of %s was not looked at", control.name)


class Link:
    """What a replica keeps of the process that decides."""

    def __init__(
        self, controller: DeploymentHandle[Any], following: Following, counted: Metrics, seconds: float
    ) -> None:
        """Begin to tell and to hear, every so many seconds; called in the event loop of the replica."""
        self._controller, self._following, self._counted, self._seconds = controller, following, counted, seconds
        self._adopting: set[asyncio.Task[None]] = set()
        self._silent = False
        self._task = asyncio.create_task(self._beat())

    def responded(self, status: int) -> None:
        """Count a response by its status."""
        self._counted.responded(status)

    async def exposition(self) -> bytes:
        """Return the metrics of all replicas; where they cannot be had, of this one, with a label that says so."""
        with contextlib.suppress(Exception):
            found: Snapshot = await asyncio.wait_for(_response(self._controller.metrics.remote()), _ANSWER_S)
            return metrics.exposed(found)
        return metrics.exposed(self._counted.snapshot(), {"replica": self._following.replica[:12]})

    async def _beat(self) -> None:
        while True:
            try:
                told = self._controller.beat.remote(self._following.beat(), self._counted.snapshot())
                plan: Plan | None = await asyncio.wait_for(_response(told), _ANSWER_S)
                self._silent = False
                if plan is not None:
                    self._adopt(plan)
            except Exception as error:  # noqa: BLE001 - whatever is wrong there, answering goes on here
                if not self._silent:
                    _log.warning("what decides cannot be reached; what answers now goes on: %s", error)
                self._silent = True
            await asyncio.sleep(self._seconds)

    def _adopt(self, plan: Plan) -> None:
        """Follow a plan without waiting for what it has to load."""
        task = asyncio.create_task(self._following.told(plan))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)


async def _response(asked: Any) -> Any:
    return await asked
