"""Search depths, rates and other settings of an experiment's plan, and register the best as candidate.

ray job submit --working-dir . -- python jobs/tune.py jobs/configs/boards.yaml --space jobs/spaces/unfreeze.yaml
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("tune"))
