"""The whole road at once, from an experiment to an answer over HTTP.

ray job submit --working-dir . -- python jobs/demo.py jobs/configs/boards.yaml
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("demo"))
