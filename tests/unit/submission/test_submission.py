"""What travels with a job is small and whole, what would fail there is refused here, and its end is told truly."""

import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from thaw import cli, console
from thaw.config import load
from thaw.errors import ClusterError, ConfigError
from thaw.submission import parcel, refusal, rendering
from thaw.submission.outcome import Outcome
from thaw.submission.work import Work
from thaw.verbs import submit
from tiny import EXPERIMENT

OVERLAYS = Path(__file__).parents[3] / "k8s" / "overlays"
HTTP = "http://10.0.0.1:8265"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with an experiment and a space."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("THAW_STORAGE", raising=False)
    (tmp_path / "my exp.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "s.yaml").write_text("name: s\n")


def work(*command: str) -> Work:
    return submit._work(cli.parser().parse_args(["submit", *command]))


def test_training_gets_a_run_of_a_name_known_beforehand_and_keeps_one_that_is_given() -> None:
    named = work("train", "my exp.yaml", "train.batch=4")
    assert named.run
    assert named.run.startswith("tiny-")
    assert named.arguments == ("my exp.yaml", "train.batch=4", "--run", named.run)
    given = work("train", "my exp.yaml", "--run", "nightly")
    assert (given.run, given.arguments) == ("nightly", ("my exp.yaml", "--run", "nightly"))
    assert work("tune", "--resume", "sweep-1", "--storage", "s3://b/x").run == "sweep-1"
    assert work("evaluate", "my exp.yaml").run is None


def test_json_is_asked_of_the_job_too() -> None:
    assert work("--json", "evaluate", "my exp.yaml").arguments == ("my exp.yaml", "--json")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([], "give the verb"),
        (["trian", "my exp.yaml"], "did you mean 'train'"),
        (["submit", "train", "my exp.yaml"], "works on this machine"),
        (["init", "."], "works on this machine"),
        (["train", "none.yaml"], "none.yaml: cannot be read"),
        (["train", "my exp.yaml", "train.bacth=1"], "did you mean 'batch'"),
        (["train", "my exp.yaml", "--run", "a b"], "not an id"),
        (["train"], "give an experiment"),
        (["train", "my exp.yaml", "model.weights={source: path, path: w.safetensors}"], "model.weights.path"),
        (["train", "my exp.yaml", "data.source={type: folder, path: images}"], "data.source.path"),
    ],
)
def test_what_cannot_be_done_there_is_refused_here(command: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        work(*command)


def test_a_parcel_holds_code_and_named_files_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(b"x" * 100)
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere.yaml"
    elsewhere.write_text("name: s\n")
    (tmp_path / "split.csv").write_text("id,split\n")
    asked = work("tune", "my exp.yaml", "data.split.file=split.csv", f"--space={elsewhere}")
    with parcel.packed(asked) as packed:
        files = {path.relative_to(packed.folder).as_posix() for path in packed.folder.rglob("*") if path.is_file()}
        assert {"my exp.yaml", "split.csv", "jobs/tune.py", "platform/thaw/cli.py"} <= files
        assert {name.split("/")[0] for name in files} == {"my exp.yaml", "split.csv", "jobs", "platform", "files"}
        assert not [name for name in files if "__pycache__" in name]
        assert packed.command[:3] == ("python", "jobs/tune.py", "my exp.yaml")
        [space] = [word for word in packed.command if word.startswith("--space=")]
        assert (packed.folder / space.partition("=")[2]).read_text() == "name: s\n"
        assert packed.environment == {"PYTHONPATH": "platform"}
        assert sum((packed.folder / name).stat().st_size for name in files) < 4 * 2**20
    assert not packed.folder.exists()


def test_a_parcel_that_is_too_large_is_refused_with_its_largest_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "split.csv").write_bytes(b"x" * 5000)
    monkeypatch.setattr(parcel, "MOST_BYTES", 4000)
    with (
        pytest.raises(ConfigError, match="MiB would travel"),
        parcel.packed(work("train", "my exp.yaml", "data.split.file=split.csv")),
    ):
        pass


@pytest.mark.parametrize(
    ("root", "address", "nodes", "shared", "said"),
    [
        ("/data/store", HTTP, 1, False, "is at http"),
        ("/data/store", "http://127.0.0.1:8265", 3, False, "has 3 nodes"),
        ("file:///data/store", "http://localhost:8265", 2, False, "has 2 nodes"),
        ("./store", "http://127.0.0.1:8265", 1, True, "relative"),
        ("/data/store", "http://127.0.0.1:8265", 1, False, None),
        ("/data/store", HTTP, 8, True, None),
        ("s3://bucket/thaw", HTTP, 8, False, None),
        (None, HTTP, 8, False, None),
    ],
)
def test_storage_that_nodes_do_not_share_is_refused(
    root: str | None, address: str, nodes: int, shared: bool, said: str | None
) -> None:
    asked = Work("train", (), (), root, None)
    if said is None:
        refusal.check_storage(asked, address, nodes, shared)
    else:
        with pytest.raises(ClusterError, match=said):
            refusal.check_storage(asked, address, nodes, shared)


def test_places_of_a_prediction_that_nodes_do_not_share_are_refused() -> None:
    predict = ("predict", "tiny/1", "--storage", "s3://b/x")
    refusal.check_storage(work(*predict, "s3://b/images", "--out", "s3://b/out"), HTTP, 3, False)
    refusal.check_storage(work(*predict, "a.png"), HTTP, 3, False)
    for places, said in ((("s3://b/images", "--out", "out"), "--out"), (("/images", "--out", "s3://b/out"), "IMAGES")):
        with pytest.raises(ClusterError, match=f"^{said}: "):
            refusal.check_storage(work(*predict, *places), HTTP, 3, False)


def test_storage_that_nobody_names_is_the_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    assert work("train", "my exp.yaml").storage is None
    assert work("train", "my exp.yaml", "--storage", "./here").storage == "./here"
    assert work("train", "my exp.yaml", "storage.root=s3://b/x").storage == "s3://b/x"
    assert work("runs", "--storage", "s3://b/x").storage == "s3://b/x"
    monkeypatch.setenv("THAW_STORAGE", "/data/store")
    assert work("train", "my exp.yaml").storage == "/data/store"


def test_another_minor_version_of_ray_is_refused() -> None:
    refusal.check_versions("2.60.0", "2.60.1")
    refusal.check_versions("2.60.0", None)
    with pytest.raises(ClusterError, match=r"install ray==2.59.0"):
        refusal.check_versions("2.60.0", "2.59.0")


@pytest.mark.parametrize(
    ("outcome", "code", "again"),
    [
        (Outcome("j", "SUCCEEDED", 0, ["done"]), 0, False),
        (Outcome("j", "FAILED", 7, []), 7, True),
        (Outcome("j", "FAILED", 2, []), 2, False),
        (Outcome("j", "FAILED", 1, ["what was found"]), 1, False),
        (Outcome("j", "FAILED", 1, []), 1, True),
        (Outcome("j", "FAILED", None, []), 1, True),
        (Outcome("j", "FAILED", -9, []), 137, True),
        (Outcome("j", "STOPPED", -15, []), 130, False),
    ],
)
def test_the_end_of_a_job_is_told_as_its_driver_ended(outcome: Outcome, code: int, again: bool) -> None:
    assert (outcome.exit_code, outcome.is_worth_another_try) == (code, again)


def test_a_result_is_told_apart_in_a_log_that_mixes_it_with_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv(console.MARKED, "1")
    assert cli.run(["runs", "--storage", str(tmp_path), "--json"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert console.result_in(line) == '{"runs": []}'
    assert console.result_in("epoch 1 of 4") is None
    assert Outcome("j", "SUCCEEDED", 0, ['{"runs": []}']).values() == {"runs": []}
    assert Outcome("j", "SUCCEEDED", 0, ["two", "lines"]).values() == {"lines": ["two", "lines"]}


def of_overlay(component: str) -> dict[str, object]:
    volumes = [{"name": "tmp", "emptyDir": {}}, {"name": "experiment", "configMap": {"name": "thaw-experiment"}}]
    template = {"spec": {"containers": [{"name": "ray", "image": "thaw@sha256:0"}], "volumes": volumes}}
    cluster = {
        "headGroupSpec": {"template": template},
        "workerGroupSpecs": [{"groupName": "gpu", "template": template}],
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": "x", "namespace": "thaw", "labels": {rendering.LABEL: component}},
        "spec": {"entrypoint": "old", "backoffLimit": 3, "rayClusterSpec": cluster},
    }


def test_a_rayjob_is_that_of_the_overlay_with_the_works_name_command_and_files() -> None:
    asked = work("train", "my exp.yaml", "data.split={val: 0.3}", "--run", "My_Run-1")
    objects = [{"kind": "ConfigMap", "metadata": {}}, of_overlay("prepare"), of_overlay("finetune")]
    files, job = rendering.documents(asked, objects, retries=5)
    assert files["metadata"] == {"name": "my-run-1", "namespace": "thaw"}
    assert load.parse(yaml.safe_load(files["data"]["my_exp.yaml"]), "test").name == "tiny"
    assert job["metadata"]["labels"] == {rendering.LABEL: "finetune"}
    assert job["spec"]["backoffLimit"] == 5
    outer = shlex.split(job["spec"]["entrypoint"])  # as the submitter's shell reads it
    assert outer[:2] == ["bash", "-c"]
    inner = ["exec", "thaw", "train", "/etc/thaw/my_exp.yaml", "data.split={val: 0.3}", "--run", "My_Run-1"]
    assert shlex.split(outer[2]) == inner
    for group in (job["spec"]["rayClusterSpec"]["headGroupSpec"], *job["spec"]["rayClusterSpec"]["workerGroupSpecs"]):
        assert group["template"]["spec"]["volumes"][1]["configMap"] == {"name": "my-run-1"}
        assert group["template"]["spec"]["containers"][0]["image"] == "thaw@sha256:0"
    assert objects[2] == of_overlay("finetune")


@pytest.mark.parametrize("run", ["Ends-with_", "1-begins-with-a-digit", "x" * 46 + "-20260102-030405-0a1b"])
def test_the_name_of_a_rayjob_is_a_label_that_the_operator_takes(run: str) -> None:
    name = rendering._name(run)
    assert len(name) <= rendering.NAME_LENGTH
    assert name[0].isalpha()
    assert name[-1].isalnum()
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_files_that_a_configmap_cannot_bring_are_refused(tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text("id,split\n")
    with pytest.raises(ConfigError, match=r"split.csv: an experiment on Kubernetes"):
        rendering.documents(work("train", "my exp.yaml", "data.split.file=split.csv"), [of_overlay("finetune")], 0)
    (tmp_path / "large.yaml").write_text(yaml.safe_dump(EXPERIMENT) + "#" * rendering.MOST_BYTES)
    with pytest.raises(ConfigError, match="a ConfigMap holds"):
        rendering.documents(work("train", "large.yaml"), [of_overlay("finetune")], 0)


def test_an_overlay_that_there_is_not_is_told() -> None:
    with pytest.raises(ConfigError, match="--overlay none: not one of"):
        rendering.described("none")


@pytest.mark.parametrize("overlay", sorted(path.parent.name for path in OVERLAYS.glob("*/jobs")))
def test_work_is_rendered_like_the_jobs_of_every_overlay(overlay: str) -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl reads overlays, and is not on the PATH")
    files, job = yaml.safe_load_all(rendering.rayjob(work("train", "my exp.yaml", "--run", "nightly"), overlay, 2))
    assert (files["kind"], job["kind"]) == ("ConfigMap", "RayJob")
    volumes = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["volumes"]
    assert {"name": "experiment", "configMap": {"name": "nightly"}} in volumes
    assert "--run nightly" in job["spec"]["entrypoint"]
