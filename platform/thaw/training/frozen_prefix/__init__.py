"""Frozen-prefix cache: what the layers that do not learn make of an image is computed once, and not in every epoch."""
