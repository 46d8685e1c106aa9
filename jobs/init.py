"""Write an experiment for a folder of images that nobody has described.

ray job submit --working-dir . -- python jobs/init.py s3://bucket/parts --out /data/parts.yaml
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("init"))
