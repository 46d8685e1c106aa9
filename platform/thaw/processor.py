"""Processor: what torch knows of the one that this process runs on."""

import torch


def facts() -> dict[str, bool | int | str]:
    """Return what torch knows of this processor; nothing where torch is too old to say."""
    return dict(getattr(torch.cpu, "get_capabilities", dict)())
