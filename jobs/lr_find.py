"""Suggest learning rates for an experiment, from short trainings at rising ones.

ray job submit --working-dir . -- python jobs/lr_find.py jobs/configs/boards.yaml
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("lr-find"))
