"""Checks of a cluster: one file each. The folder is the registry."""
