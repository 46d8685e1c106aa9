"""Shards of a split in memory, each for as long as somebody reads it."""
