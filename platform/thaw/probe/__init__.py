"""Choosing a backbone: what each costs on this machine, and what a linear head makes of its frozen features."""
