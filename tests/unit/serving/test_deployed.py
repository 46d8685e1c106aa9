"""The file for `serve deploy`: what it says is what is served, and it holds no secret."""

from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

import stored as made
from thaw import cli
from thaw.config.serving import Serve
from thaw.serving.deployed import Arguments, environment, written
from thaw.serving.gate import gate


def test_the_file_says_what_is_served_and_no_default():
    settings = Serve(host="0.0.0.0", port=8123, replicas=2, limits={"max_bytes": 5_000, "max_pixels": 7_000})
    text = written(Arguments(model="boards@champion", storage="s3://bucket/thaw", artifact="onnx", serve=settings))
    found = ServeDeploySchema.model_validate(yaml.safe_load(text))
    [application] = found.applications
    assert (found.http_options.host, found.http_options.port) == ("0.0.0.0", 8123)
    assert application.import_path == "thaw.serving.on_ray:build"
    assert set(application.args["serve"]) == {"replicas", "limits", "auth"}
    again = Arguments.model_validate(application.args)
    assert again.serve == settings.model_copy(update={"host": "127.0.0.1", "port": 8000, "auth": "keys"})
    assert again.serve.asks_for_keys, "as others reach it, whatever host the replica itself knows"
    assert (again.model, again.artifact) == ("boards@champion", "onnx")


def test_a_certificate_is_for_the_proxy_of_every_node():
    settings = Serve.model_validate({"host": "0.0.0.0", "tls": {"cert": "/tls/tls.crt", "key": "/tls/tls.key"}})
    found = yaml.safe_load(written(Arguments(model="boards", storage="/data", serve=settings)))
    schema = ServeDeploySchema.model_validate(found).http_options
    assert {"ssl_certfile", "ssl_keyfile"} <= set(type(schema).model_fields)
    assert (schema.ssl_certfile, schema.ssl_keyfile) == ("/tls/tls.crt", "/tls/tls.key")
    assert found["applications"][0]["args"]["serve"] == {"auth": "keys"}


@pytest.mark.parametrize("proxy", ["ray", "haproxy"])
def test_the_file_says_what_ray_must_be_started_with(proxy):
    settings = Serve(proxy=proxy, replicas=3, max_queued=20)
    text = written(Arguments(model="boards", storage="/data", serve=settings))
    listed = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# - ")]
    told = {one["name"]: one["value"] for one in yaml.safe_load("\n".join(listed))}
    assert told == environment(settings)
    assert ServeDeploySchema.model_validate(yaml.safe_load(text))


def test_the_manifests_start_ray_with_the_gate():
    cluster = yaml.safe_load((Path(__file__).parents[3] / "k8s" / "cluster" / "cluster.yaml").read_text())
    for group in (cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]):
        [container] = group["template"]["spec"]["containers"]
        told = {one["name"]: one["value"] for one in container["env"]}
        assert environment(Serve()).keys() <= told.keys()
        assert told["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"] == gate.CALLBACK


def test_rays_own_proxy_lets_through_what_all_replicas_have_room_for():
    assert environment(Serve(replicas=3, max_queued=20))[gate.VARIABLE] == "60"
    assert environment(Serve(autoscale={"max": 4}, max_queued=20))[gate.VARIABLE] == "80"


@pytest.mark.parametrize(
    "values",
    [
        {"autoscale": {"min": 3, "max": 2}},
        {"autoscale": {"min": 0}},
        {"autoscale": {"target": 20}, "max_queued": 20},
        {"proxy": "nginx"},
    ],
)
def test_settings_that_cannot_be_are_refused(values):
    with pytest.raises(ValueError):
        Serve.model_validate(values)


def test_the_verb_writes_the_file_for_a_model_that_exists(tmp_path, capsys):
    found = made.stored(tmp_path)
    file = tmp_path / "serve.yaml"
    storage = ["--storage", found.root.uri]
    assert cli.run(["serve", found.reference, "--write-config", str(file), "--replicas", "3", *storage]) == 0
    [application] = yaml.safe_load(file.read_text())["applications"]
    serve = {"replicas": 3, "auth": "none"}
    assert application["args"] == {"model": found.reference, "storage": found.root.uri, "serve": serve}
    assert cli.run(["serve", "colours/9", "--write-config", str(tmp_path / "no.yaml"), *storage]) == 2
    assert not (tmp_path / "no.yaml").exists()
