"""The experiment: everything a user can set, with every default, once.

Values only. How a value is used stands where it is used; what a value means stands under it.
"""

import os
import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from thaw import catalog
from thaw.config import recipes
from thaw.config.limits import Limits as Limits  # part of the experiment, and known by that place
from thaw.config.parts import Name as Name
from thaw.config.parts import Part, PartOf, Section
from thaw.config.serving import Serve


def _without_password(uri: str) -> str:
    if re.search(r"://[^/@]*:[^/@]*@|[?&][^=&]*(secret|password|token)[^=&]*=", uri):
        raise ValueError(
            "holds a password, which would be written into the run's record; leave it to the environment, such as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    return uri


Location = Annotated[str, AfterValidator(_without_password)]
"""A path or URI that is written down as it is, and so holds no password."""

Share = Annotated[float, Field(ge=0, le=1)]

Fit = Literal["letterbox", "stretch", "crop"]

AnnotationKind = Literal["class", "classes", "boxes", "mask"]
"""What an image carries for a task: one class name, a set of them, named boxes, or a class for every pixel."""


class OperatingPoint(Section):
    """An aim that a head's answers are to keep to; from which score on it answers is chosen by it on validation."""

    max_false_positive_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Most images of other classes that may be answered with a class, as a share of them."""
    min_recall: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Least share of the images, or boxes, of a class that must be found."""
    min_precision: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Least share of the answers that must be right."""
    max_fp_per_image: PositiveFloat | None = None
    """Most boxes an image, in the mean, that may be of nothing."""
    best: Literal["f1"] | None = None
    """f1: where precision and recall have the largest harmonic mean."""
    positive: str | None = None
    """With one class an image: the class that the aim is of. It is answered from its threshold on, however likely
    others are. Left out, the aim is of every class, and an image whose likeliest class stays below the threshold of
    that class is marked as unsure."""
    unsure: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Scores nearer than this to their threshold are marked as unsure as well."""

    @property
    def aim(self) -> str:
        """The name of the aim that is set."""
        return next(name for name in AIMS if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _have_one_aim(self) -> Self:
        given = [name for name in AIMS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(AIMS)}; got {', '.join(given) or 'none'}")
        return self


AIMS = ("max_false_positive_rate", "min_recall", "min_precision", "max_fp_per_image", "best")
"""What an operating point may be chosen for."""


class TaskOptions(Part):
    """What a user says about one head of the model; each task type adds its own fields."""

    annotation: ClassVar[AnnotationKind]
    aims: ClassVar[tuple[str, ...]] = ()
    """The aims that a task of this type can keep to."""

    column: str | None = None
    """Column of the source that holds the labels; the task's own name when left out."""
    classes: tuple[str, ...] | None = None
    """The allowed class names; images with any other are set aside. Left out: every name found is a class."""
    weight: PositiveFloat = 1.0
    """Share of this task in the summed loss."""
    operating_point: OperatingPoint | None = None
    """Left out: the likeliest class, or a threshold of its own."""

    @model_validator(mode="after")
    def _aim_at_what_can_be_kept(self) -> Self:
        point = self.operating_point
        if point is not None and point.aim not in self.aims:
            allowed = f"one of {', '.join(self.aims)}" if self.aims else "no operating point"
            raise ValueError(f"operating_point: tasks of type {self.type} take {allowed}; got {point.aim}")
        return self


class Split(Section):
    """How images are divided into train, val and test."""

    given: bool = True
    """Keep the split that the source states, and only make the parts that it lacks, out of its train part."""
    file: Location | None = None
    """A CSV of ``id`` and ``split`` that says of every image where it lies, in place of what the source states: a path
    or URI, such as `thaw inspect --fix` writes."""
    val: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of images for validation, where the source gives none."""
    test: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of images for the final test, where the source gives none."""
    stratify: str | None = None
    """Task whose classes keep their shares in every part; the first single-class task when left out."""

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(f"val {self.val} + test {self.test} leave nothing to train on; their sum must be below 1")
        return self

    @model_validator(mode="after")
    def _keep_what_the_file_says(self) -> Self:
        if self.file is not None and not self.given:
            raise ValueError(
                "file says where every image lies, and given: false sets that aside: leave one of them out"
            )
        return self


class Image(Section):
    """How an image is brought to the size of the model, in training and in serving."""

    size: Annotated[int, Field(ge=32, le=2048)] = 224
    """Side of the square input, in pixels."""
    fit: Fit = "crop"
    """letterbox pads to keep everything, stretch changes the aspect, crop cuts a centred square."""


class Augment(Section):
    """Random changes of training images. Each is off at its neutral bound; bounds are drawn from uniformly."""

    hflip: Share = 0.5
    """Probability of a left-right flip."""
    vflip: Share = 0.0
    """Probability of an upside-down flip; for images without an up, such as microscopy."""
    rotate: Annotated[float, Field(ge=0, le=180)] = 10.0
    """Largest rotation either way, in degrees."""
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """Largest shift along each side, as a share of it."""
    zoom: tuple[Annotated[float, Field(gt=0.2, le=5)], Annotated[float, Field(gt=0.2, le=5)]] = (0.9, 1.2)
    """Smallest and largest magnification; [1, 1] is off."""
    brightness: Share = 0.2
    """Largest relative change of brightness."""
    contrast: Share = 0.2
    """Largest relative change of contrast."""
    saturation: Share = 0.2
    """Largest relative change of saturation."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Largest turn of the colour wheel either way, as a share of it; by far the dearest of these."""
    blur: Share = 0.0
    """Probability of a Gaussian blur with sigma between 0.1 and 2 pixels."""
    policy: Literal["none", "randaugment", "trivialaugment"] = "none"
    """What comes after all of the above, drawn from 14 operations (shears, shifts, turns, changes of colour):
    randaugment: ``policy_ops`` of them at ``policy_strength``; trivialaugment: one, over a wider range, at a strength
    drawn up to ``policy_strength``. Boxes and masks move along; a box that is turned or sheared is drawn anew around
    what became of it, hence wider."""
    policy_strength: Share = 0.3
    """Share of the operations' full strength. RandAugment's recipes write it as a magnitude out of 30, most often 9,
    which is 0.3 here; TrivialAugment is meant to be used with 1."""
    policy_ops: Annotated[int, Field(ge=1, le=14)] = 2
    """How many operations randaugment applies, one after another."""

    least_box: Share = 0.3
    """Share of a box's area that must stay in view; boxes that lose more are dropped."""
    copy_paste: Share = 0.0
    """Probability that things of another image are pasted in, with their boxes and masks."""
    mixup: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Alpha of the Beta distribution by which two images and their classes are blended; 0 is off."""
    cutmix: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Alpha of the Beta distribution of the area that a piece of another image covers; 0 is off."""

    @model_validator(mode="after")
    def _order_zoom(self) -> Self:
        if self.zoom[0] > self.zoom[1]:
            raise ValueError(f"zoom: the smallest magnification {self.zoom[0]} is above the largest {self.zoom[1]}")
        return self


class Data(Section):
    """Where the images come from and how they are prepared."""

    source: Annotated[Part, PartOf("data.sources")]
    """Which images and labels: ``type`` names the source, the rest are its own options."""
    split: Split = Split()
    image: Image = Image()
    augment: Augment = Augment()
    limits: Limits = Limits()
    reencode: Annotated[int, Field(ge=32, le=4096)] | None = None
    """Store images as JPEG with this shorter side, in pixels, if they are larger; left out: keep the bytes."""
    max_rejected: Share = 0.05
    """Stop when more than this share of the images, or of a task's boxes or masks, had to be set aside."""
    shard_mb: Annotated[int, Field(ge=1, le=1024)] = 16
    """Most MiB of encoded images in a Parquet shard, which holds three quarters of it on average: what an object store
    hands out at full speed, and a node holds many of."""
    shard_images: Annotated[int, Field(ge=8, le=100_000)] = 1024
    """Most images in a shard, where they are so small that more would fit."""
    allow: tuple[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], ...] = ()
    """Gates of `thaw inspect` that are let through though they fail, by name, such as copies_across_splits."""


class Weights(Section):
    """Where the backbone's pretrained weights come from."""

    source: Literal["hub", "path", "package", "none"] = "package"
    """hub: the download of timm or torchvision; path: a file; package: an installed Python package; none: random."""
    path: str | None = None
    """With source ``path``: a .safetensors file or a weights-only PyTorch checkpoint, on a disk every node reaches;
    of the backbone, or of one of torchvision's detectors, whose pyramid and head are taken over where they fit."""

    @model_validator(mode="after")
    def _path_goes_with_path(self) -> Self:
        if (self.source == "path") != (self.path is not None):
            raise ValueError("path must be given with source: path, and with no other source")
        return self


class Lora(Section):
    """Low-rank adapters beside layers of the backbone, whose own weights then never learn; needs the extra lora."""

    rank: Annotated[int, Field(ge=1, le=256)] = 8
    """Width of an adapter: it adds rank x (inputs + outputs) weights to a layer."""
    alpha: Annotated[float, Field(gt=0, le=1024)] = 16.0
    """What an adapter computes counts alpha / rank times."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of an adapter's inputs dropped while training."""
    targets: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Ends of the names of linear layers and convolutions that get one, such as qkv or mlp.fc1; * stands for anything.
    Left out: queries, keys and values of transformers; the pointwise layers of convolutional networks, or all
    convolutions where these are few."""


class Model(Section):
    """The network: one pretrained backbone, one head per task."""

    backbone: str = "tf_efficientnet_lite0"
    """A timm model name, or one of torchvision/shufflenet_v2_*; `thaw models --find PATTERN` lists them."""
    weights: Weights = Weights()
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of features dropped before each head while training."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of images for which the last block of the backbone is passed over while its group learns (stochastic
    depth); for blocks before it the share falls to 0. Needs residual blocks; 0.1 to 0.3 are usual."""
    pyramid: Annotated[int, Field(ge=8, le=1024)] = 128
    """Channels of the feature pyramid that all heads for boxes and masks share."""
    checkpointing: bool = False
    """Gradient checkpointing: keep few activations of open layers and compute the rest again, for larger batches in
    the same memory at about a third more time; not every backbone can."""
    lora: Lora | None = None
    """Left out: layer groups learn as they are. Else adapters learn in their place, and are saved alone."""

    @model_validator(mode="after")
    def _adapt_what_can_be_had_again(self) -> Self:
        if self.lora is not None and self.weights.source == "none":
            raise ValueError(
                "lora: adapters are saved without the weights that they adapt, and random ones cannot be had again: "
                "set weights.source to hub, path or package"
            )
        return self


class Rates(Section):
    """Peak learning rates of a phase."""

    head: Annotated[float, Field(gt=0, le=10)] = 3e-3
    """Rate of the heads."""
    backbone: Annotated[float, Field(gt=0, le=10)] = 1e-3
    """Rate of the open layer group next to the heads."""
    decay: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Each deeper layer group learns at this share of the rate of the group above it."""
    groups: dict[str, Annotated[float, Field(gt=0, le=10)]] = Field(default_factory=dict)
    """Rates of single layer groups by name, such as {blocks.4: 1.0e-4}, in place of what ``decay`` gives them."""


def _depth(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Tell of one mistake where a union would tell of one for each of its members."""
    try:
        return check(value)
    except ValidationError:
        raise PydanticCustomError(
            "depth", "needs a number of layer groups, 0 or more, the word all, or the name of a layer group"
        ) from None


class Phase(Section):
    """Some epochs with the same layer groups open, or with one more opening every few epochs."""

    epochs: Annotated[int, Field(ge=1, le=10_000)]
    depth: Annotated[NonNegativeInt | Annotated[str, Field(pattern=r"^[A-Za-z_][\w.#-]*$")], WrapValidator(_depth)] = 0
    """How many layer groups, counted from the head, learn; 0 trains the heads alone. ``all`` opens every group, and a
    group's name, such as blocks.4, every group from the heads down to that one."""
    open_every: PositiveInt | None = None
    """Epochs after which one more group opens, from one more than the phase before had open until ``depth`` is
    reached; left out: all of them open at once. Early stopping counts over the whole phase and ends all of it."""
    rates: Rates = Rates()
    schedule: Literal["cosine", "constant", "linear", "step", "one_cycle"] = "cosine"
    """How rates fall from their peak over the phase: as half a cosine, not at all, in a line, by steps, or as half a
    cosine after a rise that is longer and begins at 1/25 of the peak."""
    warmup: Share | None = None
    """Share of the phase's steps over which rates rise to their peak; left out: 0.3 with one_cycle, else 0.1."""
    drop_every: PositiveInt = 5
    """With schedule step: epochs after which rates drop."""
    drop_to: Annotated[float, Field(gt=0, le=1)] = 0.1
    """With schedule step: the share of the rate before that is left after each drop."""
    views: PositiveInt | None = None
    """How many differently augmented views of each image take turns over the epochs; left out: new ones in every
    epoch. With few, what the frozen layers make of them can be kept (see train.cache)."""
    stop_after: PositiveInt | None = None
    """Epochs after which the phase ends, while rates fall as they would over all of ``epochs``: to repeat a run that
    stopped there, where no validation says so. Left out: after all of them."""

    @model_validator(mode="after")
    def _stop_within_its_epochs(self) -> Self:
        if self.stop_after is not None and self.stop_after > self.epochs:
            raise ValueError(f"stop_after {self.stop_after} lies beyond its {self.epochs} epochs; lower it")
        return self

    @property
    def lasts(self) -> int:
        """Most epochs that it trains."""
        return self.stop_after or self.epochs

    @property
    def rise(self) -> float:
        """Share of the phase's steps over which rates rise to their peak."""
        if self.warmup is not None:
            return self.warmup
        return 0.3 if self.schedule == "one_cycle" else 0.1


class Optimizer(Section):
    """How gradients move weights."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")] = "adamw"
    """adamw, adam, sgd, rmsprop, or another of timm's optimizers, such as lamb, lion, nadamw or adafactor."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Pull towards zero; never on biases and normalisation weights."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of those that have one, such as sgd and rmsprop; first beta of adam and adamw unless betas are given."""
    nesterov: bool | None = None
    """Nesterov's momentum; left out: as the optimizer has it, which for sgd means on while momentum is above 0."""
    betas: Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], ...], Field(min_length=2, max_length=3)] | None = None
    """Decay of the moving averages, for those that have them; left out: momentum and 0.999 with adam and adamw, and
    the optimizer's own with others."""
    eps: PositiveFloat | None = None
    """What keeps a division from being one by zero; left out: the optimizer's own."""
    fused: bool | None = None
    """Do a whole step in one kernel: adam, adamw, sgd and adagrad. Left out: as PyTorch chooses."""
    clip_norm: PositiveFloat | None = 5.0
    """Largest norm of the whole gradient."""


class Weighting(Section):
    """How the losses of several tasks are balanced."""

    by: Literal["fixed", "uncertainty", "gradnorm"] = "fixed"
    """fixed: by the tasks' own weights. uncertainty: learnt from each task's noise. gradnorm: so that tasks learn at
    like speed. The tasks' own weights multiply all of them."""
    rate: Annotated[float, Field(gt=0, le=1)] = 0.01
    """How fast learnt weights move."""
    alpha: Annotated[float, Field(ge=0, le=5)] = 1.5
    """With gradnorm: how strongly slower tasks are pushed."""


class EarlyStopping(Section):
    """When a phase ends before its epochs are used up."""

    patience: PositiveInt | None = 5
    """Epochs without a better validation score before the phase ends; null never ends one early."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """A score counts as better when it is higher by more than this."""
    monitor: Annotated[str, Field(pattern=r"^[^.\s]+(\.\S+)?$")] | None = None
    """What the score is, on validation images: a task (its best metric), `task.metric`, or `task.loss`, where lower
    is better. Left out: the mean of all tasks' best metrics. The checkpoint of the best score is registered."""


class Ema(Section):
    """An average of the weights over the steps, which is validated and registered instead of the last weights."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """Share of the average that each step keeps."""
    warmup: bool = True
    """Let the share rise to ``decay`` with the steps n, as 1 - n^(-2/3), so that the first ones are soon forgotten."""


class Finetune(Section):
    """The plan: first the heads on frozen features, then layer groups at rates of their own."""

    recipe: recipes.RecipeOrName = None
    """A plan by name, in place of phases: it is replaced by the phases that it stands for."""
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)] = (
        Phase(epochs=3, depth=0),
        Phase(epochs=10, depth="all"),
    )
    optimizer: Optimizer = Optimizer()
    weighting: Weighting = Weighting()
    early_stopping: EarlyStopping = EarlyStopping()
    batchnorm: Literal["held", "adapt"] = "held"
    """held: BatchNorm keeps its pretrained statistics everywhere. adapt: those of open groups move on."""
    ema: Ema | None = None
    """Left out: the weights as they are after the last step."""

    @model_validator(mode="before")
    @classmethod
    def _write_out_recipe(cls, values: Any) -> Any:
        return recipes.written_out(values)


class Cache(Section):
    """Keeping what the frozen layers make of images, so that a phase computes it once and not in every epoch."""

    use: Literal["when_it_pays", "always", "never"] = "when_it_pays"
    """when_it_pays: where it saves time, by what the first images of a phase cost. always: wherever it is possible.
    The weights learnt are the same but for rounding."""
    max_bytes: PositiveInt | None = None
    """Most memory of Ray's object store that it takes; left out: half of that of the node that has the least."""


class Decode(Section):
    """Where training images are decoded and augmented; left out: on every node that has CPUs to spare."""

    cpus: Annotated[float, Field(gt=0, le=64)] = 1.0
    """CPUs that Ray reserves for each batch that is decoded, by one thread."""
    resources: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Custom resources that each batch takes too, such as {decoder: 0.1}: only nodes started with
    ``ray start --resources`` have some."""
    labels: dict[str, Annotated[str, Field(pattern=r"^!?(in\([\w.-]+(, ?[\w.-]+)*\)|[\w.-]+)$")]] = Field(
        default_factory=dict
    )
    """Labels that a node must have, such as {role: data}, so that CPU nodes decode for GPU nodes; given by
    ``ray start --labels role=data``. A value may also be !data, in(data, spare) or !in(data, spare)."""


class Train(Section):
    """The machines that train."""

    workers: Annotated[int, Field(ge=1, le=4096)] = 1
    """Training processes; with GPUs, one GPU each."""
    device: Literal["cpu", "gpu"] | None = None
    """Left out: gpu where the cluster has one for every worker, else cpu."""
    cpus_per_worker: Annotated[float, Field(gt=0)] = 1.0
    """CPUs that Ray reserves for each training process; the rest decode and augment."""
    batch: PositiveInt = 32
    """Images per step over all workers together; a multiple of ``workers``."""
    accumulate: PositiveInt = 1
    """Pieces in which each worker computes its share of a batch, for batches that exceed its memory; the step is that
    of the whole batch, but for rounding, for dropout, and for ``finetune.batchnorm: adapt``, which sees pieces."""
    precision: Literal["fp32", "bf16", "fp16"] | None = None
    """Left out: bf16 where the processor has it in hardware, else fp32. fp16 scales losses, for GPUs without bf16."""
    compile: bool = False
    """Compile the model with torch.compile, anew in every phase; on CPUs it needs a C++ compiler on every node."""
    sampling: Literal["uniform", "tasks", "classes"] = "uniform"
    """uniform: every image once an epoch. tasks: as many, drawn; each task shares out equal chances among the images
    that carry a label for it, so an image with a label that few have comes more often, each time changed anew.
    classes: as many, drawn; each class of one task equally often: of ``data.split.stratify``, or the first
    single-class task. Images without a label for it come as often as with uniform."""
    learn_from: Literal["train", "train+val"] = "train"
    """train+val: from the validation images too. Nothing then says which epoch was best, so the last one is registered:
    for a plan whose length an earlier run has found, with ``finetune.early_stopping.patience: null``."""
    shuffle_mb: Annotated[int, Field(ge=16)] = 1024
    """MiB of encoded images that are held in Ray's object store and shuffled together. Of a larger training set each
    epoch goes through windows of this size, whose shards are drawn anew; twice as much is then held at most."""
    decode: Decode = Decode()
    prefetch: Annotated[int, Field(ge=1, le=256)] | None = None
    """Batches that are decoded at the same time for each worker; up to 768 MiB of them, or 96, wait ready for it. Left
    out: as many as the CPUs that are there to decode, shared among the workers, and at least 4."""
    cache: Cache = Cache()
    max_failures: Annotated[int, Field(ge=0)] = 3
    """Crashes of workers or nodes after which training goes on from its last checkpoint."""
    checkpoint_steps: PositiveInt | None = None
    """Steps between checkpoints inside an epoch, for epochs that take long; left out: after every epoch alone."""

    @model_validator(mode="after")
    def _divide_batch(self) -> Self:
        if self.batch % self.workers:
            raise ValueError(f"batch {self.batch} must be a multiple of workers {self.workers}")
        if self.accumulate > self.batch // self.workers:
            raise ValueError(
                f"accumulate {self.accumulate}: the {self.batch // self.workers} images that are a worker's share of a "
                "batch cannot be cut into so many pieces"
            )
        return self

    @property
    def validates(self) -> bool:
        """Whether images are left to validate on."""
        return self.learn_from == "train"


class Slices(Section):
    """A table of what is known of images beside their labels, by which figures are told apart."""

    path: Location
    """A CSV file, on a disk or in an object store that the driver reaches."""
    image: str = "file_name"
    """Column that names images as answers do."""
    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    """Columns of which each value is a slice; of many different numbers, each quarter."""


class Evaluate(Section):
    """How a finished model is measured."""

    split: Literal["val", "test"] = "test"
    batch: PositiveInt = 32
    """Images per forward pass."""
    gpus: Annotated[float, Field(ge=0, le=1)] = 0.0
    """GPUs that each answering process reserves; 0 answers on CPUs."""
    slices: Slices | None = None


def default_root() -> str:
    """Return the storage root of this machine: ``THAW_STORAGE`` where it is set, else the folder ``store``."""
    return os.environ.get("THAW_STORAGE", "store")


class Storage(Section):
    """Where datasets, runs and models are kept."""

    root: str = Field(default_factory=default_root)
    """A folder, s3://bucket/thaw or gs://bucket/thaw; every node must reach it."""


class Cluster(Section):
    """The Ray cluster that the work is done on."""

    wait_s: Annotated[float, Field(ge=0, le=86_400)] = 1800.0
    """Most seconds that a cluster which grows by itself, by Ray's autoscaler v2 as on Kubernetes, is given to bring
    nodes for what it has no room for; 0 refuses that at once, as it is on clusters that do not grow."""


class Mlflow(Section):
    """Where MLflow keeps runs; needs the extra `mlflow`."""

    uri: Location | None = None
    """A tracking server or store, such as http://mlflow:5000 or sqlite:////data/mlflow.db, that the training processes
    reach. Left out: what MLFLOW_TRACKING_URI says. Credentials belong into MLFLOW_TRACKING_USERNAME and _PASSWORD."""
    experiment: str | None = None
    """MLflow's experiment; left out: the name of this one."""


class Wandb(Section):
    """Where Weights & Biases keeps runs; needs the extra `wandb`, and WANDB_API_KEY where training runs."""

    project: str | None = None
    """Its project; left out: the name of this experiment."""
    entity: str | None = None
    """The user or team whose project it is; left out: that of the key."""
    mode: Literal["online", "offline"] = "online"
    """offline keeps everything in the run's folder `wandb`, for `wandb sync`."""


class Track(Section):
    """What is looked at while a run trains, and where else than in TensorBoard its figures go."""

    train_images: Annotated[int, Field(ge=0, le=4096)] = 256
    """Training images, unchanged, that are answered after every epoch as validation images are: the gap between the two
    tells learning from learning by heart. At most 64 MiB of them; 0 is none, and leaves the diagnosis less to go by."""
    pictures: Annotated[int, Field(ge=0, le=64)] = 6
    """Validation images that TensorBoard shows with their answers after every epoch that is the best so far."""
    mlflow: Mlflow | None = None
    """`{}` is enough where MLFLOW_TRACKING_URI is set."""
    wandb: Wandb | None = None
    """`{}` is enough where WANDB_API_KEY is set."""


class Experiment(Section):
    """What a user writes: one fine-tuning, from labelled images to an answer over HTTP."""

    name: Name
    """The model's name in the store."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Everything random is derived from it."""
    data: Data
    tasks: Annotated[
        dict[Name, Annotated[TaskOptions, PartOf("tasks")]],
        Field(min_length=1, json_schema_extra={"additionalProperties": False}),
    ]
    """The heads, by name; one is not a special case."""
    model: Model = Model()
    finetune: Finetune = Finetune()
    train: Train = Train()
    track: Track = Track()
    evaluate: Evaluate = Evaluate()
    serve: Serve = Serve()
    storage: Storage = Field(default_factory=Storage)
    cluster: Cluster = Cluster()

    @model_validator(mode="before")
    @classmethod
    def _fit_model_to_recipe(cls, values: Any) -> Any:
        return recipes.with_model(values)

    @model_validator(mode="after")
    def _mix_only_what_can_be_mixed(self) -> Self:
        chosen = self.data.augment
        if chosen.copy_paste and not any(task.annotation == "boxes" for task in self.tasks.values()):
            raise ValueError(
                "data.augment.copy_paste: what is pasted is what a box holds, and no task has boxes: set it to 0"
            )
        for name, task in self.tasks.items():
            in_pixels = task.annotation in ("boxes", "mask")
            if in_pixels and (chosen.mixup or chosen.cutmix):
                raise ValueError(
                    f"data.augment: mixup and cutmix blend the classes of whole images; task {name} is of type "
                    f"{task.type}, whose labels have places: set both to 0, or use copy_paste"
                )
            if not in_pixels and chosen.copy_paste:
                raise ValueError(
                    f"data.augment.copy_paste: what is pasted in may change the class of the whole image, which task "
                    f"{name} of type {task.type} asks for: set it to 0, or use mixup or cutmix"
                )
        return self

    @model_validator(mode="after")
    def _draw_by_classes_only_where_an_image_has_one(self) -> Self:
        if self.train.sampling == "classes" and self.stratified_task() is None:
            raise ValueError(
                "train.sampling: classes draws each class of a single-class task equally often, and no task is of type "
                "classification: with several classes an image that cannot be done; use uniform or tasks"
            )
        return self

    @model_validator(mode="after")
    def _combine_only_what_goes_together(self) -> Self:
        if self.train.accumulate > 1 and self.finetune.weighting.by == "gradnorm":
            raise ValueError(
                "train.accumulate: finetune.weighting.by gradnorm compares the gradients of a whole batch: set "
                "accumulate to 1, or by to uncertainty or fixed"
            )
        if self.model.checkpointing and self.finetune.batchnorm == "adapt":
            raise ValueError(
                "model.checkpointing: what is computed again would move BatchNorm's statistics twice a step: set it "
                "to false, or finetune.batchnorm to held"
            )
        return self

    @model_validator(mode="after")
    def _ask_nothing_of_images_that_are_learnt_from(self) -> Self:
        if self.train.validates:
            return self
        stopping = self.finetune.early_stopping
        told = f"train.learn_from: {self.train.learn_from} leaves no image to"
        if stopping.patience is not None or stopping.monitor is not None:
            raise ValueError(
                f"{told} stop early by: set finetune.early_stopping.patience to null and leave its monitor out"
            )
        if self.evaluate.split == "val":
            raise ValueError(f"{told} measure the model on but those of test: set evaluate.split to test")
        return self

    @model_validator(mode="after")
    def _monitor_a_task_that_is_there(self) -> Self:
        monitor = self.finetune.early_stopping.monitor
        if monitor is not None and (task := monitor.partition(".")[0]) not in self.tasks:
            hint = catalog.did_you_mean(task, self.tasks)
            raise ValueError(
                f"finetune.early_stopping.monitor: no task {task!r}; known: {', '.join(self.tasks)}{hint}; give TASK, "
                "TASK.METRIC or TASK.loss"
            )
        return self

    @model_validator(mode="after")
    def _hold_what_adapters_adapt(self) -> Self:
        if self.model.lora is not None and self.finetune.batchnorm == "adapt":
            raise ValueError(
                "finetune.batchnorm: adapt moves statistics beneath the adapters of model.lora, which are saved "
                "without them: set it to held"
            )
        return self

    def column(self, task: str) -> str:
        """Return the source's column that holds the labels of ``task``."""
        return self.tasks[task].column or task

    @model_validator(mode="after")
    def _stratify_by_a_single_class_task(self) -> Self:
        chosen = self.data.split.stratify
        single = [name for name, task in self.tasks.items() if task.annotation == "class"]
        if chosen is not None and chosen not in single:
            raise ValueError(f"data.split.stratify: {chosen!r} is not a single-class task; known: {single}")
        return self

    def stratified_task(self) -> str | None:
        """Return the task whose classes keep their shares over the splits, or None where no task has one class."""
        single = (name for name, task in self.tasks.items() if task.annotation == "class")
        return self.data.split.stratify or next(single, None)
