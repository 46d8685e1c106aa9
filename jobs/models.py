"""List stored models, or describe a backbone.

ray job submit --working-dir . -- python jobs/models.py tf_efficientnet_lite0
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("models"))
