"""An actor of Ray that a test takes away."""

from typing import Any

import ray
from ray.exceptions import RayActorError


def killed(actor: Any, method: str, *given: Any) -> None:
    """Kill an actor and return when it answers no more: Ray kills in its own time, and calls may still be answered."""
    ray.kill(actor)
    try:
        while True:
            ray.get(getattr(actor, method).remote(*given))
    except RayActorError:
        pass
