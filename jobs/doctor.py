"""Look for what is wrong with a cluster.

ray job submit --working-dir . -- python jobs/doctor.py --storage s3://bucket/thaw
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("doctor"))
