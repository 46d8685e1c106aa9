"""What Prometheus is told of an endpoint."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from asking import asking
from in_process import InProcess, every_kind
from thaw import bundle
from thaw.data.labels import LabelSchema
from thaw.serving.api.app import build_app
from thaw.serving.api.contract import Answered, Seconds
from thaw.serving.watch import metrics
from thaw.serving.watch.metrics import CLASSES, VERSIONS, Metrics
from thaw.serving.watch.totals import Totals
from thaw.tasks import classification
from thaw.tasks.classification import ClassificationAnswer

ORDER = ("model", "version", "task", "class", "kind", "outcome", "status", "le")


def task(names=("bad", "good")):
    schema = LabelSchema(kind="class", names=tuple(sorted(names)))
    options = classification.Options(type="classification")
    return bundle.build_tasks({"verdict": options}, {"verdict": schema})


def answered(label="good", score=0.9, unsure=False, version=3, tasks=None):
    found = {"verdict": ClassificationAnswer(label=label, score=score, scores={label: score}, unsure=unsure)}
    return Answered("boards", version, "r", {}, found, tasks or task(), Seconds(0.004, 0.02, 0.03, 4))


def read(text):
    """Return series -> value of what is exposed, a series being its name and the values of its labels."""
    families = text_string_to_metric_families(text.decode())
    samples = [sample for family in families for sample in family.samples]
    assert len({(one.name, tuple(sorted(one.labels.items()))) for one in samples}) == len(samples)
    return {(one.name, *(one.labels[name] for name in ORDER if name in one.labels)): one.value for one in samples}


def test_an_answer_is_counted_under_the_names_that_are_usual():
    counted = Metrics()
    for one in (answered(), answered(), answered("bad", 0.45, unsure=True)):
        counted.answered(one)
    counted.failed("boards", 3, "overloaded")
    counted.compared("boards", 3, "compared", 0.5)
    text = metrics.exposed(counted.snapshot())
    found = read(text)
    assert found["thaw_requests_total", "boards", "3"] == 3
    assert found["thaw_request_errors_total", "boards", "3", "overloaded"] == 1
    assert found["thaw_decode_seconds_sum", "boards", "3"] == pytest.approx(0.012)
    assert found["thaw_queue_seconds_bucket", "boards", "3", "0.01"] == 0
    assert found["thaw_queue_seconds_bucket", "boards", "3", "0.025"] == 3
    assert found["thaw_infer_seconds_count", "boards", "3"] == 3
    assert found["thaw_batch_images_sum", "boards", "3"] == 12
    assert found["thaw_predictions_total", "boards", "3", "verdict", "good"] == 2
    assert found["thaw_confidence_bucket", "boards", "3", "verdict", "0.5"] == 1
    assert found["thaw_abstained_total", "boards", "3", "verdict"] == 1
    assert found["thaw_disagreement_total", "boards", "3"] == 0.5
    assert b"# TYPE thaw_requests_total counter" in text
    assert b"# TYPE thaw_decode_seconds histogram" in text
    assert b"_created" not in text


def test_classes_and_versions_beyond_a_bound_are_counted_together():
    counted = Metrics()
    names = [f"class-{place:04d}" for place in range(CLASSES + 50)]
    many = task(names)
    for name in names:
        counted.answered(answered(name, tasks=many))
    for version in range(100, 100 + VERSIONS + 20):
        counted.answered(answered(version=version))
        counted.failed("boards", version, "deadline")
    found = read(metrics.exposed(counted.snapshot()))
    classes = {series[4] for series in found if series[0] == "thaw_predictions_total" and series[2] == "3"}
    assert len(classes) == CLASSES + 1
    assert found["thaw_predictions_total", "boards", "3", "verdict", "other"] == 50
    assert len({series[2] for series in found if series[0] == "thaw_requests_total"}) == VERSIONS + 1
    assert found["thaw_requests_total", "boards", "other"] == 21


def test_replicas_add_up_and_one_that_is_gone_still_counts():
    one, other, totals = Metrics(), Metrics(), Totals()
    one.answered(answered())
    other.answered(answered())
    other.answered(answered(version=4))
    totals.heard("one", one.snapshot(), 0.0)
    for now in (0.0, 5000.0):
        totals.heard("other", other.snapshot(), now)
        found = read(metrics.exposed(totals.snapshot()))
        assert found["thaw_requests_total", "boards", "3"] == 2
        assert found["thaw_requests_total", "boards", "4"] == 1
        assert found["thaw_confidence_count", "boards", "3", "verdict"] == 2
    assert totals.living(5000.0) == 1
    totals.heard("one", one.snapshot(), 5001.0)
    assert read(metrics.exposed(totals.snapshot()))["thaw_requests_total", "boards", "3"] == 2


def test_one_replica_alone_says_that_it_is_alone():
    counted = Metrics()
    counted.answered(answered())
    text = metrics.exposed(counted.snapshot(), {"replica": "a1"}).decode()
    assert 'thaw_requests_total{model="boards",replica="a1",version="3"} 1.0' in text


class Alone(Metrics):
    """Counts of this process, and nothing else."""

    async def exposition(self):
        return metrics.exposed(self.snapshot())


def test_metrics_are_read_at_metrics_and_every_response_is_counted():
    ask = asking(build_app(InProcess(every_kind()), watch=Alone()))
    for path in ("/none", "/none", "/metrics"):
        ask("GET", path)
    assert ask("POST", "/predict", content=b"break", headers={"content-type": "image/png"}).status_code == 500
    response = ask("GET", "/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = read(response.content)
    assert found["thaw_http_responses_total", "404"] == 2
    assert found["thaw_http_responses_total", "200"] == 1
    assert found["thaw_http_responses_total", "500"] == 1, "a fault, which an alert is to see"


def test_what_others_keep_is_exposed_beside():
    found = read(
        metrics.exposed(
            (metrics.counter("thaw_rollbacks", "t", {"model": "a"}, 2), metrics.gauge("thaw_replicas", "t", {}, 3))
        )
    )
    assert found == {("thaw_rollbacks_total", "a"): 2, ("thaw_replicas",): 3}
