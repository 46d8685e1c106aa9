"""Room in a Ray cluster: what is too much for it is refused, or waited for where an autoscaler can bring more.

What is asked for is a placement group: it is one job's own, goes when the job does, and an autoscaler says of it
whether any of its kinds of nodes could hold it. Ray's other way to ask, ``request_resources``, is one wish for the
whole cluster, which the next who asks takes back.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined] # compiled
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.core.generated import autoscaler_pb2
from ray.util import placement_group, remove_placement_group
from ray.util.placement_group import PlacementGroup

from thaw.console import say
from thaw.errors import ClusterError
from thaw.room.slot import Node, Slot, had, hold, told

_LOOK_S = 1.0
_TELL_S = 60.0
_SILENT_S = 60.0
"""How long an autoscaler may take to say something of what is asked for; it looks every five seconds."""


def ensure(what: str, slots: Sequence[Slot], wait_s: float, advice: str) -> None:
    """Return once the cluster has room for some slots at once, whether it is in use or not.

    Args:
        what: the settings that ask for them.
        wait_s: most seconds that an autoscaler is given to bring nodes; 0 refuses what is not there.
        advice: what to do where there is no room.

    Raises:
        ClusterError: there is no room, and no autoscaler brings it.
    """
    if hold(nodes(), slots):
        return
    refused = f"{what}: the cluster has {had(nodes())}, and no room for {told(slots)}"
    if not wait_s or not _grows():
        raise ClusterError(f"{refused}: {advice}")
    say(f"{refused}; waiting up to {wait_s:g} s for its autoscaler to bring more")
    with _asked_for(slots) as wish:
        reason = _wait(wish, slots, wait_s)
    if reason:
        raise ClusterError(f"{refused}; {reason}: {advice}")
    say(f"the cluster has {had(nodes())}")


def possible(slots: Sequence[Slot], wait_s: float) -> bool:
    """Return whether the cluster has room for some slots, or an autoscaler that could make room and is given time."""
    if hold(nodes(), slots):
        return True
    if not wait_s or not _grows():
        return False
    with _asked_for(slots) as wish:
        until = time.monotonic() + _SILENT_S
        while not (found := wish.look()).has_seen and time.monotonic() < until:
            time.sleep(_LOOK_S)
    return found.has_seen and not found.is_impossible


def nodes() -> list[Node]:
    """Return every node that is alive."""
    return [
        Node(dict(node["Resources"]), dict(node["Labels"]))
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]


@dataclass(frozen=True)
class _Said:
    """What an autoscaler says of a group.

    Attributes:
        has_seen: whether it has looked since the group was asked for.
        is_impossible: none of its kinds of nodes, as many as it may start, could hold the group as things are.
        coming: the kinds of nodes that are on their way.
        failed: why nodes did not come.
        is_in_use: whether anything of the cluster is, which will be free one day.
    """

    has_seen: bool
    is_impossible: bool
    coming: Sequence[str]
    failed: Sequence[str]
    is_in_use: bool

    def __str__(self) -> str:
        coming = f"on their way: {', '.join(self.coming)}" if self.coming else "no node is on its way"
        return "; ".join([coming, *self.failed[-1:]])


def _grows() -> bool:
    """Return whether an autoscaler of the second kind looks after the cluster; the first one tells nothing."""
    return bool(is_autoscaler_v2(fetch_from_server=True))


@contextlib.contextmanager
def _asked_for(slots: Sequence[Slot]) -> "Iterator[_Wish]":
    group = placement_group(
        [dict(slot.resources) for slot in slots],
        strategy="PACK",
        bundle_label_selector=[dict(slot.labels) for slot in slots],
    )
    try:
        yield _Wish(group)
    finally:
        remove_placement_group(group)


def _wait(wish: "_Wish", slots: Sequence[Slot], wait_s: float) -> str:
    """Return an empty text once there is room for slots, or why there will be none."""
    begun = shown = time.monotonic()
    while not (wish.group.wait(_LOOK_S) or hold(nodes(), slots)):
        found, waited = wish.look(), time.monotonic() - begun
        if found.is_impossible and not found.is_in_use:
            return "its autoscaler may start no nodes that would hold that"
        if not found.has_seen and waited > _SILENT_S:
            return f"its autoscaler has said nothing for {_SILENT_S:g} s"
        if waited > wait_s:
            return f"{wait_s:g} s brought no more ({found})"
        if time.monotonic() - shown > _TELL_S:
            shown = time.monotonic()
            say(f"waiting for {told(slots)} for {waited:.0f} s; {found}")
    return ""


class _Wish:
    """A group that was asked for, and what is said of it."""

    def __init__(self, group: PlacementGroup) -> None:
        self.group = group
        self._gcs = GcsClient(ray.get_runtime_context().gcs_address)
        self._since: int | None = None
        """Version of the cluster's state in which it is first seen: the state has another one at every look."""

    def look(self) -> _Said:
        """Return what the autoscaler says of it now."""
        reply = autoscaler_pb2.GetClusterStatusReply()  # type: ignore[attr-defined] # generated
        reply.ParseFromString(self._gcs.get_cluster_status())
        said, there = reply.autoscaling_state, reply.cluster_resource_state
        if self._since is None and any(self._is(one) for one in there.pending_gang_resource_requests):
            self._since = there.cluster_resource_state_version
        starting = [f"{one.count} x {one.ray_node_type_name}" for one in said.pending_instance_requests]
        return _Said(
            has_seen=self._since is not None and said.last_seen_cluster_resource_state_version >= self._since,
            is_impossible=any(self._is(one) for one in said.infeasible_gang_resource_requests),
            coming=[*starting, *(one.ray_node_type_name for one in said.pending_instances)],
            failed=[one.reason for one in said.failed_instance_requests],
            is_in_use=any(
                node.available_resources.get(name, 0) < total  # what is all in use is not listed
                for node in there.node_states
                if node.status != autoscaler_pb2.NodeStatus.DEAD  # type: ignore[attr-defined] # generated
                for name, total in node.total_resources.items()
                if name in ("CPU", "GPU")
            ),
        )

    def _is(self, asked: Any) -> bool:
        """Return whether a request is that of the group: it begins with its id."""
        return str(asked.details).startswith(self.group.id.hex())
