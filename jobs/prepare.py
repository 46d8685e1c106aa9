"""Check an experiment's images and write them as Parquet shards.

ray job submit --working-dir . -- python jobs/prepare.py jobs/configs/boards.yaml
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("prepare"))
