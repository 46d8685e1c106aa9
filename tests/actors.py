"""An actor of Ray that a test takes away."""

from typing import Any

import ray
from ray.exceptions import RayActorError

from callers import until


def killed(actor: Any, method: str, *given: Any) -> None:
    """Kill an actor and return when it answers no more: Ray kills in its own time, and calls may still be answered."""

    def is_gone() -> bool:
        try:
            ray.get(getattr(actor, method).remote(*given))
        except RayActorError:
            return True
        return False

    ray.kill(actor)
    until(is_gone)
