"""Study: a space, and how it is to be searched: what a user writes in one YAML file."""

from pathlib import Path

from thaw.tuning import space
from thaw.tuning.options import Budget, Scheduler
from thaw.tuning.search import Search


class Study(space.Space):
    """What a sweep is to explore."""

    search: Search = Search(trials=24)
    scheduler: Scheduler = Scheduler()
    budget: Budget = Budget()


def load(path: str | Path) -> Study:
    """Read a study from a YAML file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or an entry is not valid; one line per mistake.
    """
    return space.read(Study, path)
