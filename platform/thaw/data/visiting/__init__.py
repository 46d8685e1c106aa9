"""Visiting: looking at some images of a dataset again, wherever its shards are read."""
