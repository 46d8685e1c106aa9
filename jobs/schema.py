"""Print the JSON Schema of an experiment.

ray job submit --working-dir . -- python jobs/schema.py
"""

import sys

from _thaw import run

if __name__ == "__main__":
    sys.exit(run("schema"))
