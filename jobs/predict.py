"""Answer for image files that the node can read.

ray job submit --working-dir . -- python jobs/predict.py boards@champion image.jpg --storage s3://bucket/thaw
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("predict"))
