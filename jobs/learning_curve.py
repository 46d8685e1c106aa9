"""Say how many more images a target takes.

ray job submit --working-dir . -- python jobs/learning_curve.py jobs/configs/boards.yaml --target verdict=0.95
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("learning-curve"))
