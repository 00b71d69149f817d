"""What bad input gets: one line that names key, file or line, what was found and what is allowed; exit code 2; nothing half-written."""

import json
import sys

import pytest
import runs

from pojax import metrics, train
from pojax.config import override, plain
from pojax.tasks.numeric import TOKENIZER

SMALL = ["--config.run.steps=1", "--config.warm_start=None", "--config.run.tensorboard=False", "--config.run.diagnostics=False"]


def refused(capsys, workdir, *changes, preset="bnpo"):
    """The message of a run that must not start."""
    code = train.main([f"--config={runs.__file__}:{preset}", f"--workdir={workdir}", *SMALL, *changes])
    out, err = capsys.readouterr()
    assert code == 2 and out == "" and err.startswith("pojax: ") and err.count("\n") == 1, err
    return err.removeprefix("pojax: ")


@pytest.mark.parametrize(
    "changes, words",
    [
        (["--config.method.advantages=[('group_normalise',{})]"], ["method.advantages", "group_normalise", "group_normalize"]),
        (["--config.method.losses.ppo_clip.epsilonn=0.3"], ["method.losses.ppo_clip", "epsilonn", "epsilon"]),
        (["--config.method.loses=[]"], ["method.loses", "losses"]),
        (["--config.task.digit=2"], ["task.arithmetic.digit", "digits"]),
        (["--config.task=('arithmetics',{})"], ["task", "arithmetics", "arithmetic"]),
        (["--config.model.layer=2"], ["model.layer", "layers"]),
        (["--config.batch_prompts=many"], ["batch_prompts: found 'many' (str), allowed: int"]),
        (["--config.run.steps=2.5"], ["run.steps: found 2.5 (float), allowed: int"]),
        (["--config.run.keep=0"], ["run.keep: found 0, allowed: 1 or more"]),
        (["--config.drop_long_prompts=1"], ["drop_long_prompts: found 1 (int), allowed: bool"]),
        (["--config.method.losses.ppo_clip.epsilon=wide"], ["method.losses.ppo_clip.epsilon", "wide"]),
        (["--config.method.losses.ppo_clip.epsilon=-0.1"], ["epsilon", "-0.1", "allowed"]),
        (["--config.prompt_tokens=2"], ["arithmetic/train: prompt", "tokens, allowed: at most 2", "prompts are longer"]),
        (["--config.model.context=3"], ["model.context: found 3, allowed: at least", "= 7"]),
        (["--config.batch_prompts=9"], ["mesh: data x fsdp = 8 does not divide the 36 rows", "allowed: 1, 2, 3, 4, 6, 9, 12, 18, 36"]),
        (["--config.mesh.data=3"], ["mesh: data=3 x fsdp=1 x tensor=1 is not the 8 devices", "product is 8"]),
        (["--config.mesh.tensor=8", "--config.mesh.data=1"], ["mesh.tensor: 8 does not divide model.heads = 2; allowed: 1, 2"]),
        (["--config.method.minibatches=5"], ["minibatches", "5", "32 rows"]),
        (["--config.init_from=nowhere"], ["init_from: nowhere holds no config.json, allowed: the workdir of a run"]),
        (["--config.task.held_out=0"], ["arithmetic: ", "held_out=0", "allowed: at least 1"]),
    ],
)  # fmt: skip
def test_configs_that_cannot_run(changes, words, tmp_path, capsys):
    message = refused(capsys, tmp_path / "run", *changes)
    assert all(word in message for word in words), message
    assert not (tmp_path / "run/config.json").exists()


@pytest.mark.parametrize("split", ["held_out", "validation"])
def test_prompts_of_every_split_must_fit(split, tmp_path, capsys):
    """Rows that only evaluation reads are looked at before anything is written."""
    message = refused(capsys, tmp_path / "run", f"--config.task=('runs:sums',{{'long':'{split}'}})")
    assert f"task arithmetic/{split}: prompt 0 has 5 tokens, allowed: at most 4" in message and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "content, words",
    [
        ('{"prompt": "a", "answer": "1"}\n{"prompt": \n', ["rows.jsonl:2: found '{\"prompt\":'", "allowed: one JSON object per line"]),
        ('{"prompt": "a"}\n', ["rows.jsonl:1", "answer"]),
        ("", ["rows.jsonl: no rows, allowed: at least one JSON object"]),
        (None, ["No such file", "rows.jsonl"]),
    ],
)
def test_data_files(content, words, tmp_path, capsys):
    if content is not None:
        (tmp_path / "rows.jsonl").write_text(content)
    message = refused(
        capsys,
        tmp_path / "run",
        f"--config.task=('json_lines',dict(path={str(tmp_path / 'rows.jsonl')!r}))".replace("dict(path=", "{'path':").replace("))", "})"),
    )
    assert all(word in message for word in words), message
    assert not (tmp_path / "run").exists()


@pytest.fixture
def one_device():
    with runs.on_devices(1):
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two iterations of supervised learning."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    config = runs.get_config("sft", run__steps=2, run__tensorboard=False, run__eval_every=0)
    with runs.on_devices(1):
        train.run(config, workdir, say=lambda line: None)
    return config, workdir


def content(workdir):
    return {path.relative_to(workdir): path.read_bytes() for path in workdir.rglob("*") if path.is_file()}


def test_a_workdir_of_another_config(finished, one_device):
    config, workdir = finished
    before = content(workdir)
    with pytest.raises(ValueError, match=r"made by another config \(seed: 0 there, 1 here\); only keys under run may change") as error:
        train.run(override(config, {"seed": 1}), workdir)
    assert "\n" not in str(error.value) and content(workdir) == before
    with pytest.raises(ValueError, match=r"method.losses.0.1.scale: absent there, 0.5 here|method.losses.0.1.scale"):
        train.run(override(config, {"method.losses.negative_log_likelihood.scale": 0.5}), workdir)
    damaged = workdir.parent / "damaged"
    damaged.mkdir()
    (damaged / "config.json").write_text('{"config":\n  1,,}')
    with pytest.raises(ValueError, match=r"damaged/config.json:2: not JSON"):
        train.run(config, damaged)


def test_parameters_of_another_vocabulary_or_model(finished, one_device, tmp_path):
    config, workdir = finished
    for alphabet, tokens in (("0123456789+=é", 15), (TOKENIZER.alphabet[::-1], 22)):
        other = override(config, {"init_from": str(workdir), "task": ("runs:sums", dict(alphabet=alphabet))})
        with pytest.raises(
            ValueError, match=rf"init_from: .*its tokenizer and that of the task differ: 22 tokens .* and {tokens} tokens .*same vocabulary"
        ):
            train.run(other, tmp_path / "run", say=lambda line: None)
    wider = override(config, {"init_from": str(workdir), "model.hidden": 32})
    with pytest.raises(ValueError, match=r"init_from: checkpoint .*params/policy/.* is \(.*expected \(") as error:
        train.run(wider, tmp_path / "run", say=lambda line: None)
    assert "\n" not in str(error.value) and not (tmp_path / "run/config.json").exists()
    # The folder can be used once the mistake is mended.
    summary = train.run(override(config, {"init_from": str(workdir), "run.steps": 0}), tmp_path / "run", say=lambda line: None)
    assert summary["finished"]


def test_workdirs_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    message = refused(capsys, tmp_path / "file")
    assert f"--workdir={tmp_path / 'file'}: cannot be made (File exists)" in message
    message = refused(capsys, tmp_path / "file/run")
    assert "cannot be made (Not a directory)" in message and (tmp_path / "file").read_text() == "mine"
    (tmp_path / "run").mkdir()
    (tmp_path / "run/checkpoints").write_text("")
    assert f"cannot write to {tmp_path / 'run/checkpoints'}" in refused(capsys, tmp_path / "run")


def test_a_full_disk_ends_the_run_in_one_line_and_it_goes_on_later(one_device, tmp_path, monkeypatch):
    """/dev/full takes no byte: the checkpoint of the iteration before is whole, and the lines of the metrics are those of it."""
    config = runs.get_config("sft", run__steps=3, run__eval_every=0, run__checkpoint_every=1, run__tensorboard=False)
    real = metrics.jsonl

    def filling(path):
        good, full = real(path), real("/dev/full")
        return metrics.Sink(lambda step, line: (good if step < 3 else full).write(step, line), lambda: (good.close(), full.close()))

    with monkeypatch.context() as patch:
        patch.setattr(metrics, "jsonl", filling)
        with pytest.raises(
            OSError, match=r"run: metrics of iteration 3 cannot be written \(No space left on device\); the checkpoints are complete"
        ) as error:
            train.run(config, tmp_path / "run", say=lambda line: None)
    assert "\n" not in str(error.value)
    said = []
    assert train.run(config, tmp_path / "run", say=said.append)["finished"] and said[0] == "going on from iteration 2"
    assert [line["step"] for line in metrics.read(tmp_path / "run/metrics.jsonl")] == [1, 2, 3]


@pytest.fixture
def without(monkeypatch):
    """Make packages look as if they were not installed."""

    class Finder:
        def __init__(self, package):
            self.package = package

        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == self.package:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    def remove(*packages):
        for package in packages:
            for name in [n for n in sys.modules if n.partition(".")[0] == package]:
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "meta_path", [*map(Finder, packages), *sys.meta_path])

    return remove


def test_a_missing_package_names_its_extra(tmp_path, capsys, without):
    without("sentencepiece")
    rows = [{"prompt": str(i), "answer": str(i), "solution": str(i)} for i in range(30)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    message = refused(capsys, tmp_path / "run", f"--config.task=('json_lines',{{'path':{str(tmp_path / 'rows.jsonl')!r}}})")
    assert "sentencepiece" in message and 'pip install "pojax[data]"' in message and not (tmp_path / "run").exists()


def test_outputs_of_missing_packages_are_left_out(one_device, tmp_path, without):
    """A run needs neither tensorboardX nor wandb nor matplotlib: each is left out with one line."""
    without("tensorboardX", "wandb", "matplotlib")
    said = []
    config = runs.get_config("sft", run__steps=1, run__eval_every=0, run__wandb="project")
    assert train.run(config, tmp_path / "run", say=said.append)["finished"]
    for extra in ("tensorboard", "wandb", "plots"):
        assert sum(f"pojax[{extra}]" in line for line in said) == 1, said
    assert not (tmp_path / "run/tensorboard").exists() and not (tmp_path / "run/curve.png").exists()


def test_the_config_of_the_caller_does_not_move(finished, one_device):
    config, workdir = finished
    before = plain(config)
    train.run(config, workdir, say=lambda line: None)
    assert plain(config) == before
