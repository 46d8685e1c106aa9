"""Pieces: work done on each of many pieces of data, wherever there is room."""
