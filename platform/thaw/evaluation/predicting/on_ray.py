"""Answering all images of a folder on Ray: processes that each hold the network, on all nodes, and what they leave.

A node that is lost takes the parts with it that were under way there, and no others.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import ray.data
from pydantic import BaseModel, ConfigDict

from thaw import on_ray
from thaw.config.experiment import Cluster
from thaw.config.limits import Limits
from thaw.console import say, track
from thaw.data import cut
from thaw.data.cut import Piece
from thaw.data.files import Folder, is_picture, open_folder
from thaw.data.listing import listed, references
from thaw.data.pieces.on_ray import quiet
from thaw.data.sources.contract import Reference, as_text
from thaw.errors import ConfigError, DataError, StorageError, ThawError
from thaw.evaluation.predicting import part
from thaw.evaluation.predicting.answerer import Answerer, Asked
from thaw.evaluation.predicting.part import Counted
from thaw.registry import artifacts, store
from thaw.registry.record import utc_now
from thaw.room import on_ray as room
from thaw.room.slot import Slot
from thaw.storage import open_root, redacted

SUMMARY = "predictions.json"
"""Written last, so that it says that all parts are there."""


@dataclass(frozen=True)
class Processes:
    """What each process takes.

    Attributes:
        cpus: of its node; as many threads read and decode.
        gpus: 0 answers on CPUs.
        batch: images in a forward pass.
    """

    cpus: int = 1
    gpus: float = 0.0
    batch: int = 32


class Predicted(BaseModel):
    """What came of a folder; `SUMMARY` beside the parts.

    Attributes:
        images: that are named like images; all of them are in a part.
        refused: reason -> how many of them are no usable images.
        passed_over: files that are named otherwise.
        parts: number of files.
        parts_kept: how many of these were there from an earlier call, and still held.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    artifact: str | None
    folder: str
    out: str
    images: int
    refused: dict[str, int]
    passed_over: int
    parts: int
    parts_kept: int
    created: str

    @classmethod
    def of(cls, asked: Asked, counts: Sequence[Counted], passed_over: int) -> "Predicted":
        """Return what parts come to."""
        return cls(
            model=f"{asked.found.name}/{asked.found.version}",
            artifact=asked.artifact,
            folder=redacted(asked.folder),
            out=str(asked.out),
            images=sum(one.images for one in counts),
            refused=dict(sum((Counter(one.refused) for one in counts), Counter[str]())),
            passed_over=passed_over,
            parts=len(counts),
            parts_kept=sum(one.was_there for one in counts),
            created=utc_now(),
        )

    @property
    def share_refused(self) -> float:
        """Share of the images that are of no use."""
        return sum(self.refused.values()) / self.images


def predict(
    storage_root: str,
    reference: str,
    folder: str,
    out: str,
    processes: Processes,
    artifact: str | None = None,
    limits: Limits | None = None,
    wait_s: float | None = None,
) -> Predicted:
    """Answer all images of a folder, and leave the answers in parts.

    Parts that are there already, of the same model and the same images, are left alone: a call that was interrupted
    is repeated, and goes on.

    Args:
        folder, out: paths or URIs that every node reaches.
        artifact: name of one of the model's artifacts, to answer in its place.
        limits: what is refused before its pixels are decoded.
        wait_s: most seconds that a cluster which grows is given to bring nodes.

    Raises:
        StorageError: there is no such model or artifact, a store does not answer, or nodes do not share the parts.
        DataError: the folder holds no image.
        ConfigError: answers would lie among the images, or among those of another model or to other images.
        ClusterError: the cluster has no room for one process.
    """
    wait_s = Cluster().wait_s if wait_s is None else wait_s
    for place, uri in (("--storage", storage_root), ("IMAGES", folder), ("--out", out)):
        on_ray.check_shared(uri, place)
    root, answers, images = open_root(storage_root), open_root(out), open_folder(folder, "IMAGES")
    if answers == images.root:
        raise ConfigError(f"--out: {answers} is the folder of the images; name another")
    found = store.resolve(root, reference)
    device = "cuda" if processes.gpus else "cpu"
    asked = Asked(
        root=root,
        found=found,
        artifact=artifact,
        identity=artifacts.identity(root, found, artifact) if artifact else store.identity(root, found),
        folder=images.root.uri,
        out=answers,
        limits=limits or Limits(),
        batch=processes.batch,
        device=device,
        threads=processes.cpus,
    )
    listing, passed_over = _listed(images)
    part.claim(answers, {"model": asked.model, "identity": asked.identity, "images": redacted(asked.folder)})
    pieces = cut.pieces(listing["key"].to_numpy(), part.most_images(len(listing)))
    answers.remove(SUMMARY)
    with on_ray.cluster(processes.cpus, wait_s):
        one = Slot.of(cpus=processes.cpus, gpus=processes.gpus)
        room.ensure("--cpus, --gpus", [one], wait_s, "lower them, or add a node")
        say(f"{asked.model} answers {len(listing)} images of {images} in {len(pieces)} parts")
        counts = _counted(asked, processes, listing, pieces)
    bits = [piece.bits for piece in pieces]
    if lacking := part.lacking(answers, bits):
        raise StorageError(
            f"--out: {answers}: {len(lacking)} of {len(bits)} parts, such as {lacking[0]}, are not to be seen here; "
            "give a path or URI that every node reaches"
        )
    for name in part.others(answers, bits):
        answers.remove(name)
    done = Predicted.of(asked, counts, passed_over)
    answers.write_json(SUMMARY, done.model_dump(mode="json"))
    return done


def _listed(images: Folder) -> tuple[pa.Table, int]:
    """Return the listing of all files that are named like images, and the number of the others.

    Raises:
        DataError: there are none.
    """
    names = list(images.below())
    pictures = [name for name in names if is_picture(name)]
    if not pictures:
        raise DataError(
            f"{images}: holds no image that this machine can see; name a folder or prefix with images below it"
        )
    return listed((Reference(as_text(name), {}) for name in pictures), ()), len(names) - len(pictures)


def _counted(asked: Asked, processes: Processes, listing: pa.Table, pieces: Sequence[Piece]) -> list[Counted]:
    """Return what every part holds, once all are written.

    Raises:
        DataError: what a user can mend; it is handed over as a value, for Ray Data would show it as a fault of its own.
    """
    tables = [
        listing.slice(piece.start, piece.stop - piece.start).append_column(
            "bits", pa.repeat(pa.scalar(piece.bits, pa.string()), piece.stop - piece.start)
        )
        for piece in pieces
    ]
    quiet()
    rows = (
        ray.data.from_arrow(tables)
        .map_batches(
            _Process,
            fn_constructor_args=(asked,),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=len(pieces)),
            num_cpus=processes.cpus,
            num_gpus=processes.gpus or None,
        )
        .iter_rows()
    )
    counts = []
    for row in track(rows, "answering images", len(listing), lambda row: int(row["images"])):
        if row["refusal"]:
            raise DataError(row["refusal"])
        counts.append(Counted(**json.loads(row["counted"])))
    return counts


class _Process:
    """An answerer among the actors of Ray Data."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._answerer: Answerer | None = None

    def __call__(self, rows: pa.Table) -> pa.Table:
        counted, refusal = Counted(0, {}), ""
        try:
            self._answerer = self._answerer or Answerer(self._asked)
            counted = self._answerer.part(rows["bits"][0].as_py(), [one.id for one in references(rows)])
        except ThawError as error:
            refusal = str(error)
        return pa.table({"images": [counted.images], "counted": [json.dumps(asdict(counted))], "refusal": [refusal]})
