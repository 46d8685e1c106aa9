"""The demo: the whole road at once, from an experiment to an answer over HTTP.

It trains twice, so that the point of it all can be seen: the experiment's plan, which opens layers, and heads
alone on the frozen backbone for as many epochs.
"""

import io
import json
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from thaw import bundle, on_ray, overlay, predictor
from thaw.config.experiment import Experiment, Phase
from thaw.console import say
from thaw.data import dataset, quality
from thaw.data import on_ray as data
from thaw.data.dataset import Dataset
from thaw.data.labels import Annotation, Boxes
from thaw.evaluation import on_ray as evaluation
from thaw.evaluation.evaluate import Scores
from thaw.metrics import summary
from thaw.registry import store
from thaw.registry.record import RunRecord
from thaw.serving import on_ray as serving
from thaw.storage import Root, local_cache, open_root
from thaw.training import on_ray as training

_SHOWN = 300
"""Characters of the answer that are printed; ``--json`` has all of it."""


def run(experiment: Experiment) -> tuple[dict[str, Any], Sequence[str]]:
    """Prepare, train, evaluate, promote, serve and ask; return the values and what to tell a person.

    Raises:
        ThawError: data, model, plan or cluster do not fit what is asked.
    """
    root = open_root(experiment.storage.root)
    reserved = max(experiment.train.workers * experiment.train.cpus_per_worker, experiment.serve.replicas)
    with on_ray.cluster(reserved):
        _say(1, "prepare the images")
        prepared = data.prepare(experiment)
        _say(2, "train the heads alone on the frozen backbone, to compare with")
        frozen = _trained(_frozen(experiment), prepared)
        _say(3, "train with layers opened, as the experiment says")
        opened = _trained(experiment, prepared)
        _say(4, "evaluate both on the test images")
        scores = {
            "frozen": _scores(experiment, frozen, prepared),
            "opened": _scores(experiment, opened, prepared),
        }
        _say(5, "promote the new version to champion")
        name, version = experiment.name, int(str(opened.bundle).rsplit("/", 1)[1])
        store.set_alias(root, name, store.CHAMPION, version)
        _say(6, "serve the champion and ask it over HTTP")
        with serving.endpoint(f"{name}@{store.CHAMPION}", experiment.storage.root, experiment.serve) as url:
            image_id, image = _test_image(root, prepared)
            answer = _ask(url, image)
    values = {
        "test": {which: found.metrics for which, found in scores.items()},
        "champion": version,
        "run": opened.id,
        "image": image_id,
        "answer": answer,
        "overlay": _drawn(root, experiment, opened, image),
    }
    champion = f"{name}@{store.CHAMPION} is version {version}"
    return values, [*_table(scores), "", *_places(root, opened, champion, values)]


def _say(step: int, what: str) -> None:
    say(f"\n[{step}/6] {what}")


def _frozen(experiment: Experiment) -> Experiment:
    """Return the experiment with heads alone, for as many epochs at the rates of its first phase."""
    epochs = sum(phase.epochs for phase in experiment.finetune.phases)
    only = Phase(epochs=epochs, depth=0, rates=experiment.finetune.phases[0].rates)
    plan = experiment.finetune.model_copy(update={"phases": (only,)})
    return experiment.model_copy(update={"name": f"{experiment.name}-frozen", "finetune": plan})


def _trained(experiment: Experiment, prepared: Dataset) -> RunRecord:
    return training.train(experiment, prepared)


def _scores(experiment: Experiment, trained: RunRecord, prepared: Dataset) -> Scores:
    return evaluation.evaluate(experiment, str(trained.bundle).removeprefix("models/"), prepared)


def _test_image(root: Root, prepared: Dataset) -> tuple[str, bytes]:
    """Return the id and the encoded bytes of the first test image with boxes, or of the first if none has any."""
    shard = dataset.read_shard(root, f"{prepared.path}/{prepared.splits['test'][0].file}")
    images = [dataset.encoded(shard, row) for row in range(len(shard))]
    image_id, image, _ = next((one for one in images if _has_boxes(one[2])), images[0])
    return image_id, image


def _has_boxes(annotations: Mapping[str, Annotation]) -> bool:
    return any(isinstance(one, Boxes) and len(one.boxes) for one in annotations.values())


def _drawn(root: Root, experiment: Experiment, run: RunRecord, image: bytes) -> str:
    """Draw the run's answers on an image, keep the picture with the run and return its place."""
    found = store.resolve(root, str(run.bundle).removeprefix("models/"))
    loaded = bundle.load(store.fetch(root, found, local_cache()))
    pixels = quality.decode(image, experiment.serve.limits)
    [answers] = predictor.answer(loaded, [pixels])
    picture = io.BytesIO()
    overlay.draw(pixels, answers, overlay.palette(loaded.description.labels)).save(picture, "PNG")
    place = f"runs/{run.id}/overlay.png"
    root.write_bytes(place, picture.getvalue())
    return place


def _ask(url: str, image: bytes) -> dict[str, Any]:
    place = f"{url}/predict?masks=none"
    request = urllib.request.Request(place, image, {"content-type": "image/*"})  # noqa: S310 - http, ours
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy stands before this machine
    with direct.open(request, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def _table(scores: Mapping[str, Scores]) -> Sequence[str]:
    """Return the figures of every task as a whole, side by side; those of its classes are in the runs' records."""
    frozen, opened = scores["frozen"].metrics, scores["opened"].metrics
    lines = ["", f"{'test metric':<28}{'frozen backbone':>16}{'layers opened':>16}"]
    for task, metrics in opened.items():
        before = frozen.get(task, {})
        for metric, value in summary.overall(metrics).items():
            was = f"{before[metric]:.3f}" if metric in before else "-"
            lines.append(f"{task + ' ' + metric:<28}{was:>16}{value:>16.3f}")
    return lines


def _places(root: Root, run: RunRecord, champion: str, values: Mapping[str, Any]) -> Sequence[str]:
    answer = json.dumps(values["answer"])
    return [
        f"champion     {champion}",
        f"asked        POST /predict?masks=none with {values['image']}",
        f"answered     {answer if len(answer) <= _SHOWN else answer[:_SHOWN] + ' ...'}",
        f"picture      {root.shown(values['overlay'])}",
        f"TensorBoard  tensorboard --logdir {root.shown(f'runs/{run.id}')}",
        f"bundle       {root.shown(str(run.bundle))}",
    ]
