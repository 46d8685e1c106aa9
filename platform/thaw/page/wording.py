"""Wording: how numbers of things, times and long names are written for people, the same in every report."""


def count(number: int, noun: str) -> str:
    """Return a number of things, such as ``1 trial`` or ``1,200 trials``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time, such as ``41 s``, ``3 min 20 s`` or ``1 h 12 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    minutes = round(seconds / 60)
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def cut(text: str, most: int) -> str:
    """Return text that is no longer than ``most`` characters, its middle left out."""
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"
