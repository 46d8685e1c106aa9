"""Compare two models on the same images.

ray job submit --working-dir . -- python jobs/compare.py boards/1 boards@candidate
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("compare"))
