"""Draw training images as the model is shown them, with their labels.

ray job submit --working-dir . -- python jobs/preview.py jobs/configs/boards.yaml --out /data/preview.png
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("preview"))
