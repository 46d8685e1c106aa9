"""The command line: what it prints where, and how it ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import thaw
from thaw import arguments, catalog, cli
from thaw.submission import parcel

VERBS = tuple(name.replace("_", "-") for name in catalog.names("verbs"))
JOBS = Path(__file__).parents[2] / "jobs"
ON_A_CLUSTER = tuple(
    verb for verb in VERBS if verb != "submit"
)  # which hands the others to a cluster, and is none there


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from thaw import cli\n"
        "try: cli.run(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'timm', 'torchvision', 'pydantic', 'pyarrow', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(verb in done.stdout for verb in VERBS)


@pytest.mark.parametrize("job", sorted(path.stem for path in JOBS.glob("*.py")))
def test_no_job_hides_a_module_of_the_standard_library(job):
    assert job not in sys.stdlib_module_names


@pytest.mark.parametrize("verb", ON_A_CLUSTER)
def test_every_verb_has_a_job_that_runs_the_same_code(verb):
    file = parcel.job_of(verb)
    text = (JOBS / file).read_text()
    assert f'run("{verb}")' in text
    assert f"python jobs/{file}" in text.split('"""')[1]


def test_a_job_runs_without_an_installed_package(tmp_path):
    command = [sys.executable, JOBS / "runs.py", "--storage", tmp_path, "--json"]  # of all jobs it imports the least
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert json.loads(done.stdout) == {"runs": []}


def test_the_schema_is_that_of_an_experiment(capsys):
    assert cli.run(["schema", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Experiment"


def test_what_a_user_can_mend_ends_with_2_and_no_traceback(tmp_path, capsys):
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: x\ndata: {source: {type: boards}}\ntasks: {verdict: {type: clasification}}\n")
    assert cli.run(["prepare", str(broken)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "tasks.verdict: type: 'clasification' is not one of" in told.err
    assert "did you mean 'classification'?" in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize("verb", ["prepare", "inspect", "train", "tune", "evaluate", "demo", "lr-find"])
def test_a_missing_experiment_is_named(verb, tmp_path, capsys):
    assert cli.run([verb, str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml: cannot be read" in capsys.readouterr().err


def test_train_without_an_experiment_says_what_to_give(capsys):
    assert cli.run(["train"]) == 2
    assert "give the path of its YAML" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["runs"], ["models"], ["models", "test_resnet"], ["models", "--find", "test_*"]])
def test_json_is_exactly_one_object_on_stdout(arguments, tmp_path, capsys):
    extra = ["--storage", str(tmp_path)]
    assert cli.run([*arguments, *extra, "--json"]) == 0
    told = capsys.readouterr().out
    assert isinstance(json.loads(told), dict)
    assert told.count("\n") == 1


def test_models_prints_groups_from_the_input_to_the_head(capsys):
    assert cli.run(["models", "tf_efficientnet_lite0", "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert [group["depth"] for group in groups] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert sum(group["parameters"] for group in groups) == 3_371_008


def test_models_lays_a_plan_over_the_groups_of_the_backbone_asked_for_or_else_its_own(tmp_path, capsys):
    path = tmp_path / "e.yaml"
    path.write_text(
        "name: tiny\ndata: {source: {type: boards}, image: {size: 32}}\ntasks: {verdict: {type: classification}}\n"
        "model: {backbone: test_resnet}\nfinetune: {phases: [{epochs: 2, depth: layer4.0}]}\n"
    )
    assert cli.run(["models", "--plan", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["backbone"], list(told["phases"][0]["rates"])) == ("test_resnet", ["layer4.0", "heads"])
    assert cli.run(["models", "test_vit", "--plan", str(path), "finetune.recipe=full", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["backbone"] == "test_vit"
    assert set(told["phases"][0]["rates"].values()) == {3e-4}
    assert cli.run(["models", "test_vit", "--plan", str(path)]) == 2
    assert "finetune.phases[0].depth: 'layer4.0' is not a layer group of test_vit" in capsys.readouterr().err


def test_promote_of_a_missing_model_names_those_there_are(tmp_path, capsys):
    assert cli.run(["promote", "boards/1", "--storage", str(tmp_path)]) == 2
    assert "boards" in capsys.readouterr().err


def test_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.run(["--version"])
    assert ended.value.code == 0
    assert thaw.__version__ in capsys.readouterr().out


@pytest.mark.parametrize("verb", [["train"], ["tune"], ["inspect"], ["serve", "boards@champion"]])
def test_the_storage_that_is_given_is_the_experiments_too(verb, tmp_path):
    given = str(tmp_path / "a store: here")
    options = cli.parser().parse_args([*verb, str(JOBS / "configs" / "boards.yaml"), "--storage", given])
    assert arguments.experiment(options).storage.root == given
