"""The commands as a user types them: --print, --help, wrong options, evaluate, explain."""

import json
import sys

import jax
import pytest
import runs

from pojax import commands, evaluate, explain, train

CONFIG = f"--config={runs.__file__}:bnpo"


def typed(module, capsys, *arguments):
    """(exit code, stdout, stderr)"""
    code = module.main(list(arguments))
    return code, *capsys.readouterr()


def test_print_shows_the_run_and_stops(tmp_path, capsys):
    workdir = tmp_path / "run"
    code, out, err = typed(
        train, capsys, CONFIG, f"--workdir={workdir}", "--print", "--config.batch_prompts=16", "--config.method.losses.ppo_clip.epsilon=0.3"
    )
    assert code == 0 and err == "" and not workdir.exists()
    shown = json.loads(out[out.index("{") : out.index("== parameters ==")])
    assert shown["batch_prompts"] == 16 and shown["method"]["losses"][0] == [
        "ppo_clip",
        {"epsilon": 0.3, "epsilon_high": 0.28, "dual_clip": 10.0},
    ]
    vocabulary, hidden, mlp = 22, 16, 32
    layer = (
        4 * (hidden * hidden + hidden) - hidden + 3 * hidden * mlp + 2 * hidden
    )  # four projections, biases but for the output's, SwiGLU, two norms
    assert f"policy: {vocabulary * hidden + layer + hidden:,} parameters" in out
    assert f"policy/embedding [{vocabulary}, {hidden}] float32" in out
    assert "method: 16 prompts x 4 = 64 rows, at most 448 tokens an iteration" in out and "warm_start: 8 prompts x 1 = 8 rows" in out
    assert f"mesh data={jax.device_count()} x fsdp=1 x tensor=1" in out
    assert "advantages <- beta_normalize(" in out


def test_explain_says_what_print_says_of_the_program(capsys):
    code, out, _ = typed(explain, capsys, CONFIG)
    assert code == 0 and "== warm_start, from iteration 0 ==" in out and "== method, from iteration 3 ==" in out
    assert "ppo_clip(logprobs, old_logprobs, advantages" in out and "forward passes" in out


@pytest.mark.parametrize("module", [train, explain, evaluate])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(module, flag, capsys):
    code, out, err = typed(module, capsys, flag)
    assert code == 0 and err == "" and out.startswith(f"usage: python -m {module.__name__} --")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], ["--config is missing", "usage: python -m pojax.train --config=... --workdir=..."]),
        ([CONFIG], ["--workdir is missing"]),
        ([CONFIG, "--workdir"], ["--workdir: needs a value"]),
        ([CONFIG, "--wrkdir=x"], ["--wrkdir: unknown option", "nearest: workdir"]),
        ([CONFIG, "workdir=x"], ["'workdir=x': found a bare word", "--name=value"]),
        ([CONFIG, "--workdir=x", "--config.run.stepz=3"], ["run.stepz: no key 'stepz'", "nearest: steps"]),
        ([CONFIG, "--workdir=x", "--config.method.losses.ppo.epsilon=3"], ["method.losses.ppo.epsilon", "nearest: ppo_clip"]),
        (["--config=nowhere.py", "--workdir=x"], ["--config=nowhere.py: no such file"]),
        (["--config=configs/bnpo.py:huge", "--workdir=x"], ["preset: found 'huge', allowed: tiny"]),
    ],
)
def test_wrong_options_are_one_line(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if any("configs/" in a for a in arguments):
        monkeypatch.chdir(runs.ROOT)
    code, out, err = typed(train, capsys, *arguments)
    assert code == 2 and out == "" and err.count("\n") == 1 and err.startswith("pojax: ")
    assert all(word in err for word in words), err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content, words",
    [
        ("def get_config(:\n", ["mine.py:1: ", "invalid syntax"]),
        ("x = 1\n", ["mine.py: defines no get_config"]),
        ("import no_such_package\n", ["mine.py", "no_such_package"]),
        ("\n\nx = undefined\n", ["mine.py:3: NameError: name 'undefined'"]),
        ("def get_config():\n    return undefined\n", ["mine.py:2: NameError: name 'undefined'"]),
    ],
)
def test_broken_config_files_are_one_line(content, words, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(content)
    code, _, err = typed(train, capsys, f"--config={tmp_path / 'mine.py'}", f"--workdir={tmp_path / 'run'}")
    assert code == 2 and err.count("\n") == 1 and all(word in err for word in words), err
    assert not (tmp_path / "run").exists()


def test_an_interrupt_outside_the_loop_is_one_line(capsys):
    def body():
        raise KeyboardInterrupt

    assert commands.run(body) == 130 and capsys.readouterr().err == "pojax: interrupted\n"


def test_what_is_said_takes_the_place_of_the_progress_bar(monkeypatch, capsys):
    train._say("a line")
    assert capsys.readouterr().err == "a line\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    train._say("a line")
    assert capsys.readouterr().err == "\r\x1b[Ka line\n"


@pytest.mark.slow
def test_exit_code_and_streams_of_a_process(tmp_path):
    code, out, err = runs.finish(runs.command("--config=nowhere.py", f"--workdir={tmp_path}"))
    assert code == 2 and out == "" and err == "pojax: --config=nowhere.py: no such file nowhere.py\n"
