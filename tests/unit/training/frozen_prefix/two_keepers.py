"""What two worker processes do for test_cache.py; run by it as ``python two_keepers.py FOLDER``."""

import json
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from kept_run import KeptRun, experiment
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from thaw.model import FinetuneModel
from thaw.training import workers
from thaw.training.frozen_prefix import blocks
from thaw.training.frozen_prefix.blocks import Block
from thaw.training.frozen_prefix.claims import Spot

WORKERS = 2
ROWS = 4
"""Images of a block, so that both workers have some to compute."""


class InFiles:
    """A store of several processes."""

    max_bytes = 10**9

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, key: str, place: int, block: Block) -> None:
        part = self.folder / f"{key}-{place}.part"
        part.write_bytes(pickle.dumps(block))
        part.rename(part.with_suffix(".block"))

    def places(self, key: str) -> set[int]:
        return set(self.get(key))

    def get(self, key: str) -> dict[int, Block]:
        files = self.folder.glob(f"{key}-*.block")
        return {int(file.stem.rpartition("-")[2]): pickle.loads(file.read_bytes()) for file in files}

    def claim(self, name: str, wanted: Sequence[Spot]) -> list[Spot]:
        return list(wanted)  # the workers of one run have shares of their own

    def release(self, name: str) -> None:
        pass


def _wrap(model: FinetuneModel) -> nn.Module:
    return DistributedDataParallel(model, **workers.ddp_options(model))


def _work(worker: int, folder: str) -> None:
    torch.set_num_threads(1)
    blocks._MOST_ROWS = ROWS
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=worker, world_size=WORKERS)
    chosen = experiment(("colour", "place", "paint"), cache={"use": "always"}, workers=WORKERS)
    run = KeptRun(chosen, InFiles(Path(folder)), worker, WORKERS)
    history = [{"train": progress.epoch.train_loss, "val": progress.epoch.val_loss} for progress in run.fit(wrap=_wrap)]
    found = {"history": history, "decoded": run.decoded}
    Path(folder, f"{worker}.json").write_text(json.dumps(found), encoding="utf-8")
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    multiprocessing.start_processes(_work, (sys.argv[1],), nprocs=WORKERS, start_method="fork")
