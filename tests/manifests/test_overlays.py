"""Every rule holds in every overlay, and the overlays are what their names say."""

import importlib
import re

import pytest
import yaml
from manifest_checks import NEEDS_SCHEMAS, RULES
from manifest_rules import watching
from rendered import OVERLAYS, clusters, groups, jobs, of_kind

from thaw.serving.watch.metrics import Metrics


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != NEEDS_SCHEMAS])
def test_a_rule_holds(installations, overlay, rule):
    assert list(RULES[rule](installations[overlay])) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_custom_resources_are_as_their_schemas_say(installations, custom_schemas, overlay):
    assert list(RULES[NEEDS_SCHEMAS](installations[overlay])) == []


VERBS = ("prepare", "finetune", "tune", "evaluate", "predict")
GROUPS = {"dev": ["cpu"], "gpu": ["cpu", "gpu"], "spot": ["cpu", "gpu", "spot"], "prod": ["cpu", "gpu", "spot"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_all_clusters_of_an_overlay_are_alike(installations, overlay):
    found = list(clusters(installations[overlay]))
    assert len(found) == (8 if overlay == "prod" else 7)
    for _, cluster in found:
        assert [name for name, _ in groups(cluster)] == ["head", *GROUPS[overlay]]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_step_has_its_job(installations, overlay):
    names = [document["metadata"]["name"] for document, _ in jobs(installations[overlay])]
    assert sorted(names) == sorted([*VERBS, *(["retrain"] if overlay == "prod" else [])])


def test_production_retrains_by_the_job_that_is_run_by_hand(installations):
    by_name = {document["metadata"]["name"]: job for document, job in jobs(installations["prod"])}
    assert by_name["retrain"] == by_name["finetune"]


def test_only_production_needs_what_a_platform_has(installations):
    kinds = {overlay: {document["kind"] for document in documents} for overlay, documents in installations.items()}
    assert not kinds["dev"] & {"PodMonitor", "ExternalSecret", "Gateway", "ClusterQueue", "StatefulSet"}
    assert kinds["prod"] >= {"PodMonitor", "ExternalSecret", "Gateway", "ClusterQueue", "StatefulSet", "RayCronJob"}


def test_what_jobs_were_made_from_is_applied_once(installations):
    for documents in installations.values():
        assert len(of_kind(documents, "RayCluster")) == 1
        assert len({(document["kind"], document["metadata"]["name"]) for document in documents}) == len(documents)


def test_what_is_served_can_be_imported(installations):
    for document in of_kind(installations["prod"], "RayService"):
        for application in yaml.safe_load(document["spec"]["serveConfigV2"])["applications"]:
            module, _, name = application["import_path"].partition(":")
            assert callable(getattr(importlib.import_module(module), name))


def test_an_endpoint_counts_what_alerts_and_dashboard_ask_for():
    names = {family.name for family in Metrics().snapshot()}
    asked = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in watching.SERVING}
    assert asked <= names
