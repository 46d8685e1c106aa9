"""Formats that labelled images come in: one file a format."""
