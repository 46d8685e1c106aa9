"""Verbs: one file each. The folder is the registry; a file's first line is what `thaw --help` says of it."""
