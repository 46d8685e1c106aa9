"""Say who may ask endpoints. A key that is made here stands in the job's log: make keys with `thaw keys` instead.

ray job submit --working-dir . -- python jobs/keys.py list
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("keys"))
