"""FrozenPrefix: the batches of a run, of pixels, or where it pays of what the frozen layers made of them.

The loop sees batches either way. Where blocks are kept, and where pixels are decoded, is handed in.
"""

import itertools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from thaw.bundle import Bundle
from thaw.config.experiment import Cache as Options
from thaw.data.feed import Feed
from thaw.errors import ModelError
from thaw.training.frozen_prefix import cost, fill
from thaw.training.frozen_prefix.blocks import Kept, block_rows
from thaw.training.frozen_prefix.cost import Wanted
from thaw.training.frozen_prefix.fill import Cost, Store, Stream
from thaw.training.frozen_prefix.key import content_key
from thaw.training.frozen_prefix.measure import measured
from thaw.training.plan import FinetunePlan
from thaw.training.step import Batch, Device
from thaw.training.workers import all_say, first_says

_Judge = Callable[[Sequence[Cost]], bool]
"""Says by what the first blocks cost whether the others are to be computed too."""

_MEASURED = 4
"""Blocks that are computed before it is decided whether to go on."""


@dataclass(frozen=True)
class Images:
    """The images of a split, for one worker.

    Attributes:
        name: which images in which order: the fingerprint of their dataset, and the split.
        stream: gives the batches of a feed of them.
    """

    name: str
    feed: Feed
    stream: Stream


@dataclass(frozen=True)
class _Phase:
    """A phase from where it begins, or goes on after a restart.

    Attributes:
        place: in the plan.
        depth: how many layer groups learn.
        epochs: that are left.
        reason: why nothing can be kept of any images; empty where it can.
    """

    place: int
    depth: int
    epochs: int
    reason: str

    def line(self, used: str, why: str) -> str:
        return f"cache: {used} in phase {self.place + 1} (depth {self.depth}): {why}"


class FrozenPrefix:
    """The batches of all phases, on one worker."""

    def __init__(
        self,
        trained: Bundle,
        plan: FinetunePlan,
        options: Options,
        store: Store | None,
        train: Images,
        val: Images,
        on: Device,
        tell: Callable[[str], None],
    ) -> None:
        """Begin.

        Args:
            store: None where nothing is to be kept.
            tell: given lines for a person.
        """
        self._trained, self._plan, self._options, self._store = trained, plan, options, store
        self._train, self._val, self._on, self._tell = train, val, on, tell
        self._phase: _Phase | None = None
        self._taken = 0
        self._val_kept: Kept | None = None
        self._val_decided = False

    def batches(self, start: int, stop: int) -> Generator[Batch]:
        """Yield the training batches of steps of one phase, whose groups are open.

        Each view is computed when the first epoch that shows it begins, so that the first epoch waits for one alone.
        """
        phase = self._phase = self._begun(start, stop)
        feed = replace(self._train.feed, views=self._plan.span_at(start).phase.views)
        keys, judge = self._wanted(phase, feed, start, stop) if self._store else ({}, _granted)
        found: dict[int, Kept | None] = {}
        for epoch in _epochs(start, stop, feed.epoch_steps):
            view = feed.view(epoch.start)
            if keys and view not in found:
                found[view], judge = self._filled(self._train, feed, {view: keys[view]}, judge), _granted
            kept = found.get(view)
            if kept is None:
                yield from self._train.stream(feed, epoch.start, stop)
                return
            for step in epoch:
                yield kept.batch(view, feed.rows(step))

    def validation(self) -> Generator[Batch]:
        """Yield the validation batches, in the phase whose training batches were asked for last."""
        feed = self._val.feed
        if not self._val_decided:
            self._val_kept, self._val_decided = self._kept_for_validation(feed), True
        if self._val_kept is None:
            yield from self._val.stream(feed, 0, feed.epoch_steps)
            return
        for rows in (feed.rows(step) for step in range(feed.epoch_steps)):
            if len(rows):  # a worker may be left without an image
                yield self._val_kept.batch(0, rows)

    def _begun(self, start: int, stop: int) -> _Phase:
        self._taken, self._val_kept, self._val_decided = 0, None, False
        span = self._plan.span_at(start)
        epochs = -(-(stop - start) // self._train.feed.epoch_steps)
        return _Phase(span.place, span.depth, epochs, self._uncut() if self._store else "it is off")

    def _uncut(self) -> str:
        """Cut the model, and return why that cannot be done; nothing where it can."""
        try:
            self._trained.model.split(self._train.feed.preprocess.size)
        except ModelError as error:
            return str(error)
        return ""

    def _wanted(self, phase: _Phase, feed: Feed, start: int, stop: int) -> tuple[Mapping[int, str], _Judge]:
        """Return view -> key of what a phase has use for, and who judges by the first blocks whether it pays.

        Where nothing can be kept or used there are no keys, and it is told why.
        """
        if reason := phase.reason or refusal(feed, phase.place):
            self._tell(phase.line("not used", reason))
            return {}, _granted
        views = sorted({feed.view(epoch.start) for epoch in _epochs(start, stop, feed.epoch_steps)})
        keys = self._keys(self._train, feed, views)
        if first_says(fill.is_complete(feed, keys, self._kept_in)):
            self._tell(phase.line("used", "everything is kept already"))
            return keys, _granted
        if len(views) >= phase.epochs and self._options.use == "when_it_pays":
            self._tell(phase.line("not used", f"each of the {phase.epochs} epoch(s) left has a view of its own"))
            return {}, _granted
        seen = (stop - start) * feed.batch
        wanted = Wanted(feed.images, len(views), seen, feed.workers, self._kept_in.max_bytes)
        return keys, lambda first: self._judged(phase, first, feed, wanted)

    def _judged(self, phase: _Phase, first: Sequence[Cost], feed: Feed, wanted: Wanted) -> bool:
        """Return whether the first blocks speak for the cache, and tell."""
        if not first:
            self._tell(phase.line("used", "this worker's share is kept already"))
            return True
        one = measured(self._trained, first, feed, self._on)
        used = wanted.fits(one) and (self._options.use == "always" or wanted.pays(one))
        self._taken = wanted.bytes(one) if used else 0
        self._tell(phase.line("used" if used else "not used", cost.figures(wanted, one, used)))
        return used

    def _kept_for_validation(self, feed: Feed) -> Kept | None:
        """Return what is kept of the validation images, which are the same in every epoch, or None."""
        phase = self._phase
        if phase is None or phase.reason or (phase.epochs < 2 and self._options.use == "when_it_pays"):
            return None
        return self._filled(
            self._val, feed, self._keys(self._val, feed, [0]), lambda first: self._has_room(first, feed)
        )

    def _has_room(self, first: Sequence[Cost], feed: Feed) -> bool:
        needed = first[0].block.nbytes / first[0].block.rows * feed.images if first else 0
        return self._taken + needed <= self._kept_in.max_bytes

    def _filled(self, images: Images, feed: Feed, keys: Mapping[int, str], judge: _Judge) -> Kept | None:
        """Compute what is wanted, unless the first worker judges by its first blocks that it should not be."""
        filling = fill.fill(self._trained.model, feed, keys, self._kept_in, images.stream, self._on)
        used = first_says(judge(list(itertools.islice(filling, _MEASURED))))
        if not used:
            filling.close()
            return None
        for _ in filling:
            pass
        return self._collected(feed, keys)

    def _collected(self, feed: Feed, keys: Mapping[int, str]) -> Kept | None:
        """Return all blocks once every worker has computed its share, or None where any of them had to give way."""
        all_say(True)
        found = {view: self._kept_in.get(key) for view, key in keys.items()}
        places = range(fill.in_blocks(feed).epoch_steps)
        if not all_say(all(len(blocks) == len(places) for blocks in found.values())):
            self._tell("cache: what was kept had to give way to others; it goes on without")
            return None
        size = feed.preprocess.size
        ordered = {view: [blocks[place] for place in places] for view, blocks in found.items()}
        return Kept(ordered, block_rows(size), feed.labels, size)

    def _keys(self, images: Images, feed: Feed, views: Sequence[int]) -> dict[int, str]:
        halves = self._trained.model.halves
        if halves is None:
            raise RuntimeError("the network is not cut where its open groups begin now")
        return {view: content_key(self._trained, halves, feed, images.name, view, self._on) for view in views}

    @property
    def _kept_in(self) -> Store:
        if self._store is None:
            raise RuntimeError("nothing is to be kept")
        return self._store


def _granted(_first: Sequence[Cost]) -> bool:
    """Say that what was decided already holds."""
    return True


def _epochs(start: int, stop: int, whole: int) -> Iterator[range]:
    """Yield the steps of each epoch from one step to before another; the first one may have begun before."""
    while start < stop:
        over = min(stop, (start // whole + 1) * whole)
        yield range(start, over)
        start = over


def refusal(feed: Feed, phase: int) -> str:
    """Return why nothing can be kept of the training images of a phase; nothing where it can."""
    options = feed.augment
    mixing = [name for name in ("mixup", "cutmix", "copy_paste") if options and getattr(options, name)]
    if mixing:
        return f"data.augment.{mixing[0]} mixes the pixels of images"
    if feed.chances is not None:
        return "train.sampling draws an image several times an epoch, each time changed anew"
    if feed.views is None:
        return f"every epoch augments images anew; finetune.phases[{phase}].views would make views take turns"
    return ""
