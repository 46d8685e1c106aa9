"""Measure a model on the test split.

ray job submit --working-dir . -- python jobs/evaluate.py jobs/configs/boards.yaml --model boards@champion
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("evaluate"))
