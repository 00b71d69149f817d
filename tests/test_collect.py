"""`python -m pojax.collect`: rewards and optimal values of every prompt, and the task that carries them as columns."""

import jax
import numpy as np
import pytest
import runs

from pojax import collect, tasks, train
from pojax.build import build
from pojax.config import override
from pojax.tasks.columns import fingerprint, with_columns

TASK = ("arithmetic", dict(digits=1, validation=5, held_out=8))
CONFIG = f"--config={runs.__file__}:a_star_po"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(workdir of a run, file that was collected from it, what was printed)."""
    folder = tmp_path_factory.mktemp("collect")
    with runs.on_devices(1):
        train.run(runs.get_config("bnpo"), folder / "run", say=lambda line: None)
    config = override(runs.get_config("a_star_po"), {"init_from": str(folder / "run")})
    said = collect.collect(config, str(folder / "v_star.npz"), samples="3", beta="0.4", split="train", say=lambda line: None)
    return folder / "run", folder / "v_star.npz", said


def typed(capsys, *arguments):
    code = collect.main(list(arguments))
    return code, *capsys.readouterr()


def test_values_are_those_of_the_rewards(run):
    _, file, said = run
    stored = np.load(file)
    size = tasks.arithmetic(**TASK[1])["train"].size
    assert stored["rewards"].shape == (size, 3) and stored["v_star"].shape == (size,)
    expected = [0.4 * np.log(np.mean(np.exp(np.array(row, float) / 0.4))) for row in stored["rewards"]]
    np.testing.assert_allclose(stored["v_star"], expected, rtol=1e-5)
    assert len(np.unique(stored["rewards"])) > 2  # the weighted sum of the config, of several components
    assert said.splitlines()[0].startswith(f"V* of {size} train prompts from 3 samples each") and said.splitlines()[1] == str(file)


def test_the_command_gives_the_same_file_again(run, tmp_path, capsys):
    workdir, file, _ = run
    out = tmp_path / "again.npz"
    code, said, err = typed(capsys, CONFIG, f"--config.init_from={workdir}", "--samples=3", "--beta=0.4", f"--out={out}")
    assert code == 0 and err == "" and str(out) in said
    first, second = np.load(file), np.load(out)
    assert sorted(first.files) == sorted(second.files)
    for name in first.files:
        np.testing.assert_array_equal(first[name], second[name])


def test_a_config_reads_the_values_as_a_column(run):
    """A method without the rule for V* finds the column; every row has the value of its prompt; the step runs."""
    workdir, file, _ = run
    config = runs.get_config("a_star_po")
    changes = {
        "method.advantages": [],
        "method.rollouts.samples": 1,
        "task": ("with_columns", dict(task=TASK, file=str(file))),
        "warm_start": None,
        "init_from": str(workdir),
    }
    with pytest.raises(ValueError, match="a_star_value: writes 'v_star', which is given by rollout"):
        build(override(config, {k: v for k, v in changes.items() if k != "method.advantages"}))
    job = build(override(config, changes), devices=jax.devices()[:1])
    state, learner = job.init(), job.phases[-1].learner
    batch, _ = learner.collect(state, learner.hyper)
    column = np.load(file)["v_star"]
    np.testing.assert_array_equal(batch.components["v_star"], column[np.asarray(batch.prompt_index)])
    state, metrics = learner.train_step(state, batch, learner.hyper)
    assert metrics["policy/ran"] == 1 and np.isfinite(metrics["policy/loss"])


def test_columns_of_ones_own(tmp_path):
    train_split = tasks.arithmetic(**TASK[1])["train"]
    file = tmp_path / "mine.npz"
    np.savez(file, prompts=fingerprint(train_split), age=np.arange(train_split.size), short=np.zeros(3))
    splits = with_columns(task=TASK, file=str(file), columns=("age",))
    np.testing.assert_array_equal(splits["train"].columns["age"], np.arange(train_split.size))
    assert "difficulty" in splits["train"].columns and "age" not in splits["held_out"].columns
    for keywords, words in (
        (dict(columns=("weight",)), "has no 'weight'; allowed: age, prompts, short"),
        (dict(columns=("short",)), "column 'short' has 3 rows"),
        (dict(task=("arithmetic", TASK[1] | dict(seed=1))), "was made for other prompts than the"),
        (dict(task="arithmetic"), "allowed: an entry"),
        (dict(task=("arithmetik", {})), "nearest: arithmetic"),
        (dict(task=("arithmetic", dict(digit=1))), "digit"),
        (dict(file=__file__), "is no .npz file of arrays"),
    ):
        with pytest.raises(ValueError, match=words):
            with_columns(**dict(task=TASK, file=str(file), columns=("age",)) | keywords)
    with pytest.raises(OSError):
        with_columns(task=TASK, file=str(tmp_path / "none.npz"))


def test_wrong_options(tmp_path, capsys):
    out = f"--out={tmp_path / 'v.npz'}"
    for arguments, words in (
        ([out], "--config is missing"),
        ([CONFIG], "--out: found None, allowed: the name of a file that ends in .npz"),
        ([CONFIG, "--out=v_star.txt"], "--out: found 'v_star.txt'"),
        ([CONFIG, out, "--samples=0"], "--samples: found '0', allowed: a whole number of 1 or more"),
        ([CONFIG, out, "--beta=half"], "--beta: found 'half', allowed: a number"),
        ([CONFIG, out, "--split=test"], "--split: found 'test', allowed: train, validation, held_out"),
        ([f"--config={runs.__file__}:sft", out], "a supervised method has no rewards"),
        ([CONFIG, out, f"--config.init_from={tmp_path}"], "init_from"),
        ([CONFIG, out, "--sample=2"], "--sample: unknown option"),
    ):
        code, said, err = typed(capsys, *arguments)
        assert code == 2 and said == "" and words in err.splitlines()[-1], err
    assert not list(tmp_path.iterdir())
    code, said, _ = typed(capsys, "--help")
    assert code == 0 and said.startswith("usage: python -m pojax.collect --config=...")
