"""Look whether what a model is asked is still like its validation images.

ray job submit --working-dir . -- python jobs/drift.py boards@champion --days 7
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("drift"))
