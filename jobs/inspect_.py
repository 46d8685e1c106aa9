"""Look for what is wrong with an experiment's images.

ray job submit --working-dir . -- python jobs/inspect_.py jobs/configs/boards.yaml
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("inspect"))
