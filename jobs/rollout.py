"""Try a version of a model on a share of the requests of endpoints that follow an alias.

ray job submit --working-dir . -- python jobs/rollout.py boards/4 --canary 0.1 --storage s3://bucket/thaw
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("rollout"))
