"""Answer over HTTP until the job is stopped.

ray job submit --working-dir . -- python jobs/serve.py boards@champion --host 0.0.0.0 --storage s3://bucket/thaw
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("serve"))
