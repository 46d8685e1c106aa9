"""Point an alias at a version of a model.

ray job submit --working-dir . -- python jobs/promote.py boards/3 champion --storage s3://bucket/thaw
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("promote"))
