"""List the runs in a storage root.

ray job submit --working-dir . -- python jobs/runs.py --storage s3://bucket/thaw
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("runs"))
