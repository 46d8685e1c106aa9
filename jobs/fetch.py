"""Download a well-known data set by its name, to a disk that every node reaches.

ray job submit --working-dir . -- python jobs/fetch.py oxford-pets --out /data/oxford-pets
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("fetch"))
