"""The learning runs: rows, resumption, verdicts, and the page of methods."""

import json

import pytest

from experiments import learns, methods


def record(gains, preset="micro", steps=3):
    return {
        "preset": preset,
        "rows": [{"seed": i, "before": 0.2, "after": 0.2 + g, "steps": steps, "seconds": 1.0} for i, g in enumerate(gains)],
    }


def test_interval_is_that_of_students_t():
    mean, low, high = learns.interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean == 3.0 and low == pytest.approx(1.0368, abs=1e-3) and high == pytest.approx(4.9632, abs=1e-3)  # scipy.stats.t.interval
    assert learns.interval([1.0])[1] == float("-inf")


def test_verdicts_follow_the_rule():
    records = {"grpo": record([0.3, 0.31, 0.29]), "good": record([0.2, 0.21, 0.19]), "weak": record([0.1, 0.11, 0.09])}
    records |= {"loose": record([0.5, -0.1, 0.2]), "elsewhere": record([0.01, 0.011, 0.012], "other")}
    found = {arm: learns.verdict(r, learns.reference_gain(records, r["preset"])) for arm, r in records.items()}
    assert found == {"grpo": "yes", "good": "yes", "weak": "less than half of GRPO's gain", "loose": "not shown"} | {
        "elsewhere": "gains, but GRPO has not been run on this preset"
    }
    assert "| weak | micro | 20% -> 30%, 20% -> 31%, 20% -> 29% | +10.0% [+7.5%, +12.5%] | 0.33 |" in learns.table(records)


@pytest.mark.slow
def test_rows_are_written_and_not_made_twice(tmp_path, capsys):
    given = [f"--runs={tmp_path}/runs", f"--results={tmp_path}/results", "--configs=bnpo", "--seeds=1", "--steps=2", "--workers=1"]
    assert learns.main(given) == 0
    rows = json.loads((tmp_path / "results" / "bnpo.json").read_text())["rows"]
    assert [row["seed"] for row in rows] == [0] and all(row["finite"] and row["before"] > 0 for row in rows)
    assert (tmp_path / "learns.md").exists()
    (tmp_path / "results" / "bnpo.json").write_text(json.dumps(record([0.1, 0.2], steps=2)))
    capsys.readouterr()
    assert learns.main(given) == 0  # nothing is run again: the table is that of the rows
    assert "20% -> 30%, 20% -> 40%" in capsys.readouterr().out
    (tmp_path / "file").write_text("")
    assert learns.main([*given, f"--results={tmp_path}/file"]) == 2  # rows that cannot be written
    assert "1 of 1 arms failed, with the errors above: bnpo" in capsys.readouterr().err


def test_an_arm_is_done_with_its_seeds_steps_and_preset(tmp_path):
    def done(rows, seeds=2, steps=None):
        (tmp_path / "grpo.json").write_text(json.dumps(rows))
        return learns.done("grpo", seeds, steps, tmp_path)

    assert not learns.done("grpo", 2, None, tmp_path)
    assert done(record([0.1, 0.2], steps=250)) and done(record([0.1, 0.2, 0.3], steps=7), steps=7)
    assert not done(record([0.1], steps=250)) and not done(record([0.1, 0.2])) and not done(record([0.1, 0.2], "world", steps=250))


def test_bad_options_are_one_line(capsys):
    assert learns.main(["--configs=grqo"]) == 2 and "nearest: grpo" in capsys.readouterr().err
    assert learns.main(["--seeds=0"]) == 2 and "--seeds: found '0', allowed: 1 to 10" in capsys.readouterr().err


def test_docstrings_that_do_not_fit_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(methods.importlib, "import_module", lambda name: type("M", (), {"__doc__": "A method without a paper."}))
    with pytest.raises(ValueError, match=r"configs/mine.py: the docstring begins 'A method without a paper.', allowed: 'NAME \(paper"):
        methods.entry("mine")
