"""Thaw: careful fine-tuning of pretrained vision models on Ray, and serving of the result.

Nothing heavy is imported here: torch, timm and ray are imported where they are used.
"""

__version__ = "0.1.0"
