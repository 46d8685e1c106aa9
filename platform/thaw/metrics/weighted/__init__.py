"""Weighted: every metric of a task over images that each count so often, for many such weightings at once.

What a bootstrap needs: with every image counted once a metric here is the one that the task's meter gives. Arrays named
``weights`` are (R, N): R weightings of N images. Each metric comes as (R,), and is NaN in a weighting where it has no
value.
"""
