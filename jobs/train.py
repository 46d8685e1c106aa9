"""Fine-tune an experiment's model and register the best checkpoint.

ray job submit --working-dir . -- python jobs/train.py jobs/configs/boards.yaml
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("train"))
