"""Bring a model to another format, and register it if it answers as before.

ray job submit --working-dir . -- python jobs/export.py boards@champion --to onnx --int8
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("export"))
