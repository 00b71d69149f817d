"""The report: what is read, what is made of it, that nothing in it can run, and the page in a browser."""

import html.parser
import json
import math

import numpy as np
import pytest
from browser import Page

from pojax import report
from pojax.report import __main__ as command
from pojax.report.data import curves, page_data, readable_key, sample_rows
from pojax.report.names import describe
from pojax.report.page import embedded, page
from pojax.report.read import read_runs, short_names

EVIL = [
    '</script><script>window.broken = "script"</script>',
    "<img src=x onerror=\"window.broken = 'img'\">",
    "<!--",
    "]]>",
    "&lt;b&gt;",
    "\u2028",
]
CONFIG = {
    "seed": 0,
    "task": ["sums", {"digits": 2}],
    "optimizer": ["adamw", {"learning_rate": ["linear", {"start": 0.1}]}],
    "method": {"losses": [["ppo_clip", {"epsilon": 0.2}], ["k3", {"scale": 0.04}]]},
    "warm_start": {"steps": 5},
    "run": {"steps": 20, "log_samples_every": 5},
}


def write_run(folder, *, seed=0, epsilon=0.2, steps=20, samples=(10, 20), rows=4, texts=("12", "7", "305", "4")):
    """A workdir with numbers that are told by formulas: reward = step / steps + seed, every token's entropy = step / 10 ..."""
    config = json.loads(json.dumps(CONFIG)) | {"seed": seed, "run": {"steps": steps}}
    config["method"]["losses"][0][1]["epsilon"] = epsilon
    (folder / "samples").mkdir(parents=True)
    put = lambda name, value: (folder / name).write_text(json.dumps(value))  # noqa: E731
    put("config.json", {"pojax": "0", "config": config, "tokenizer": {}})
    put("environment.json", {"jax": "1.2.3", "devices": 4, "git": "abc", "cpu_features": ["avx", "fma"]})
    put("before.json", {"pass_at_1": 0.25, "interval": [0.2, 0.3], "greedy": 0.3})
    put("after.json", {"pass_at_1": 0.75, "interval": [0.7, 0.8], "greedy": 0.8})
    put("summary.json", {"finished": True, "seconds": 75.0})
    warm = [{"step": s, "warm_start.policy/loss": 1 / s, "time/update": 0.5} for s in range(1, 6)]
    later = [
        {"step": s + 5, "reward": s / steps + seed, "entropy": 2 / s, "length": 10, "components/correct": 0.5, "policy/gradient_norm": 1.0,
         "time/update": 0.1, "truncated": None} | ({"validation/pass_at_1": 0.5} if s % 10 == 0 else {})
        for s in range(1, steps + 1)
    ]  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in warm + later))
    for step in samples:
        made = [
            {"prompt": f"prompt {i} of {step}", "response": texts[i % len(texts)], "tokens": [*texts[i % len(texts)], ""],
             "mask": [1] * (len(texts[i % len(texts)]) + 1), "cut": 0, "group": 0, "prompt_index": i, "length": i + 1, "reward": float(i),
             "components": {"correct": float(i % 2)}, "truncated": False,
             "advantage": [i - 1.5] * (len(texts[i % len(texts)]) + 1), "entropy": [step / 10] * (len(texts[i % len(texts)]) + 1)}
            for i in range(rows)
        ]  # fmt: skip
        put(f"samples/{step}.json", {"step": step, "rows": made})
    return folder


class Reader(html.parser.HTMLParser):
    """Elements by name, their attributes, and the text of scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.ids = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids += [dict(attributes)["id"]] if "id" in dict(attributes) else []
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, text):
        if self.tags and self.tags[-1][0] == "script" and self.cdata_elem == "script":
            self.scripts[-1] += text

    def data(self):
        return json.loads(self.scripts[0])


def read(path):
    return Reader(path.read_text(encoding="utf-8"))


# ---- reading


def test_one_file_without_a_network(tmp_path, capsys):
    folder = write_run(tmp_path / "run")
    assert command.main([f"--workdir={folder}"]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    found = read(folder / "report.html")
    assert [tag for tag, _ in found.tags].count("script") == len(found.scripts) == 2
    outside = [(tag, a) for tag, a in found.tags if {"src", "srcset", "action"} & a.keys() or a.get("href", "#")[0] != "#"]
    assert outside == [("link", {"rel": "icon", "href": "data:,"})]
    assert not any(name.startswith("on") for _, a in found.tags for name in a)
    assert "default-src 'none'" in next(a["content"] for _, a in found.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert {"curves", "responses", "configs", "environment", "warnings", "data"} <= set(found.ids) and len(found.ids) == len(set(found.ids))
    assert dict(found.tags)["html"]["lang"] == "en"
    data = found.data()
    (run,) = data["runs"]
    assert run["held_out"]["before"]["pass_at_1"] == 0.25 and run["held_out"]["after"]["interval"] == [0.7, 0.8]
    assert (run["steps"], run["planned"], run["warm"], run["finished"], run["seconds"], run["task"]) == (25, 25, 5, True, 75.0, "sums")
    assert data["steps_per_point"] == 1 and data["differences"] == []
    reward = data["series"][0]["reward"]
    assert reward["x"] == list(range(6, 26)) and reward["y"][-1] == 1.0 and "low" not in reward
    assert "truncated" not in data["series"][0]  # never a number
    assert len(data["samples"]) == data["samples_logged"] == 8 and data["samples"][5]["step"] == 20
    assert data["environments"] == [
        {"values": {"cpu_features": "avx, fma", "devices": "4", "git": "abc", "jax": "1.2.3"}, "runs": [0]}
    ]  # fmt: skip


def test_what_is_hostile_stays_text(tmp_path):
    folder = write_run(tmp_path / "run", texts=EVIL, rows=len(EVIL))
    text = report.write_report([folder], tmp_path / "out.html").read_text(encoding="utf-8")
    found = Reader(text)
    assert len(found.scripts) == 2 and "img" not in {tag for tag, _ in found.tags}
    assert [row["response"] for row in found.data()["samples"][: len(EVIL)]] == EVIL
    block = text.partition('id="data">')[2].partition("</script>")[0]
    assert not set("<>&\u2028") & set(block)
    assert json.loads(embedded({"a": [math.nan, 1.0, -math.inf], "b": "\ud800"})) == {"a": [None, 1.0, None], "b": "\ud800"}


def test_the_script_makes_no_markup():
    """The page's own script never parses text as markup or as a program."""
    script = Reader(page({})).scripts[1]
    forbidden = ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(", "setTimeout")
    assert len(script) > 10_000 and not [word for word in forbidden if word in script]


def test_seeds_are_one_group_and_only_differing_keys_are_shown(tmp_path):
    folders = [write_run(tmp_path / f"clip-{e}-seed-{s}", seed=s, epsilon=e) for e in (0.2, 0.3) for s in (0, 1)]
    longer = write_run(tmp_path / "clip-0.2-seed-0-longer", steps=30)
    data = page_data(read_runs([*folders, longer]))
    assert data["groups"] == [{"label": "clip-0.2", "runs": [0, 1, 4]}, {"label": "clip-0.3", "runs": [2, 3]}]
    assert data["differences"] == [
        {"key": "method.losses.ppo_clip.epsilon", "values": [["0.2"], ["0.3"]]},
        {"key": "run.steps", "values": [["20", "30"], ["20"]]},
        {"key": "seed", "values": [["0", "1"], ["0", "1"]]},
    ]
    assert [json.loads(text)["method"]["losses"][0][1]["epsilon"] for text in data["configs"]] == [0.2, 0.3]


@pytest.mark.parametrize(
    "path, key",
    [
        ("optimizer.1.learning_rate.1.start", "optimizer.learning_rate.start"),
        ("method.losses.1.1.scale", "method.losses.k3.scale"),
        ("method.losses.0.0", "method.losses.ppo_clip"),
        ("warm_start", "warm_start"),
    ],
)
def test_keys_are_those_of_overrides(path, key):
    assert readable_key(CONFIG, path) == key


def test_names_of_runs(tmp_path):
    paths = [tmp_path / "a/x/run", tmp_path / "b/x/run", tmp_path / "other"]
    assert short_names(paths) == ["a/x/run", "b/x/run", "other"]


def test_metrics_in_words():
    assert describe("policy/clip_fraction_high")["title"] == "Clipped from above"
    assert describe("value/loss")["title"] == "Loss (value)" and describe("value/loss")["section"] == "Update"
    assert describe("warm_start.policy/loss")["section"] == "Warm start" and describe("components/length")["section"] == "Reward components"
    assert describe("my_metric/of_mine")["title"] == "my metric, of mine" and describe("my_metric/of_mine")["section"] == "Other"


# ---- bounds


def test_many_steps_become_few_points():
    rng = np.random.default_rng(0)
    values = rng.normal(size=10_000)
    lines = [{"step": s, "reward": v} | ({"validation/pass_at_1": 0.5} if s % 1000 == 0 else {}) for s, v in enumerate(values, 1)]
    curve = curves(lines, 20)["reward"]
    parts = values.reshape(500, 20)
    assert curve["x"] == list(range(20, 10_001, 20))
    for name, expected in (("y", parts.mean(1)), ("low", parts.min(1)), ("high", parts.max(1))):
        np.testing.assert_allclose(curve[name], expected, rtol=1e-4)
    assert curves(lines, 20)["validation/pass_at_1"] == {
        "x": list(range(1000, 10_001, 1000)),
        **dict.fromkeys(("y", "low", "high"), [0.5] * 10),
    }


def test_ten_thousand_steps(tmp_path):
    folder = write_run(tmp_path / "run", steps=10_000, samples=())
    out = report.write_report([folder], tmp_path / "out.html")
    data = read(out).data()
    assert data["steps_per_point"] == 21 and max(len(c["x"]) for c in data["series"][0].values()) <= 500 and out.stat().st_size < 400_000


def test_samples_are_bounded_and_the_newest_stay(tmp_path):
    runs = read_runs([write_run(tmp_path / name, samples=range(1, 11)) for name in "ab"])
    rows, logged = sample_rows(runs, rows=30, tokens=10_000)
    assert logged == 80 and len(rows) == 24 and {(r["run"], r["step"]) for r in rows} == {(i, s) for i in (0, 1) for s in (2, 6, 10)}
    assert len(sample_rows(runs, rows=1000, tokens=30)[0]) == 8  # one logged iteration of each run is always kept


# ---- mistakes


def refused(capsys, *arguments):
    assert command.main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


def test_mistakes(tmp_path, capsys):
    folder = write_run(tmp_path / "run")
    assert "--workdir is missing; usage: python -m pojax.report" in refused(capsys)
    assert "--workdir" in refused(capsys, f"--workdri={folder}")
    assert f"--workdir={tmp_path}: holds no config.json, so no run" in refused(capsys, f"--workdir={tmp_path}")
    assert "is given twice" in refused(capsys, f"--workdir={folder},{folder}/../run")
    assert "cannot be written" in refused(capsys, f"--workdir={folder}", f"--out={tmp_path}/no/such/folder.html")
    (folder / "samples/10.json").write_text('{"step": 10}')
    assert f"{folder}/samples/10.json: not what a run writes" in refused(capsys, f"--workdir={folder}")
    (folder / "samples/10.json").write_text('{"step": \n')
    assert f"{folder}/samples/10.json:2: not JSON" in refused(capsys, f"--workdir={folder}")
    assert not (folder / "report.html").exists()


def test_damaged_and_half_written_lines(tmp_path, capsys):
    folder = write_run(tmp_path / "run", samples=())
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 26, "rew')
    assert read_runs([folder])[0].lines[-1]["step"] == 25
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('\n{"step": 27}\n')
    assert f"{folder}/metrics.jsonl:26: found" in refused(capsys, f"--workdir={folder}")


def test_a_run_that_has_only_begun(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"config": CONFIG}))
    data = read(report.write_report([folder], tmp_path / "out.html")).data()
    assert data["runs"][0]["steps"] == 0 and not data["runs"][0]["finished"] and data["samples"] == [] and data["metrics"] == []


# ---- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Page(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def tab(browser):
    browser.problems.clear()
    browser.requests.clear()
    return browser


def cells(tab, column):
    return tab.run(f"""[...document.querySelectorAll('#sample-body td[data-label="{column}"]')].map(td => td.textContent)""")


def click(tab, selector):
    tab.run(f"document.querySelector({json.dumps(selector)}).click()")


def put(tab, selector, value, event):
    tab.run(
        f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('{event}', {{bubbles: true}})); }})"
        f"(document.querySelector('{selector}'))"
    )


def test_in_a_browser(tab, tmp_path):
    """Sorts, filters, pages, colours; curves react; nothing is said on the console and nothing is fetched."""
    folders = [write_run(tmp_path / f"clip-{e}-{s}", seed=s, epsilon=e, rows=15, samples=(10, 20)) for e in (0.2, 0.3) for s in (0, 1)]
    tab.open(report.write_report(folders, tmp_path / "out.html"))
    tab.wait("document.querySelectorAll('#sample-body tr').length > 0")
    # The table: newest first, then by reward, both ways.
    assert len(cells(tab, "Step")) == 25 and set(cells(tab, "Step")) == {"20"}
    assert tab.run("document.getElementById('sample-count').textContent") == "1 to 25 of 120 responses"
    click(tab, 'th[data-column="reward"] button')
    assert cells(tab, "Reward")[:9] == ["14"] * 8 + ["13"]
    assert tab.run("""document.querySelector('th[data-column="reward"]').getAttribute('aria-sort')""") == "descending"
    click(tab, 'th[data-column="reward"] button')
    assert cells(tab, "Reward")[:9] == ["0"] * 8 + ["1"]
    click(tab, "#page-last")
    assert cells(tab, "Reward")[-1] == "14" and tab.run("document.getElementById('page-next').disabled")
    put(tab, "#sample-find", "PROMPT 3 OF 10", "input")
    assert cells(tab, "Prompt") == ["prompt 3 of 10"] * 4
    put(tab, "#sample-run", "2", "change")
    assert cells(tab, "Run") == ["clip-0.3-0"]
    put(tab, "#sample-find", "no such text", "input")
    assert cells(tab, "Run") == [] and tab.run("document.getElementById('sample-count').textContent") == "no response has this text"
    put(tab, "#sample-find", "", "input")
    # Colours: by advantage from minus to plus, by entropy one hue, or none.
    click(tab, 'th[data-column="step"] button')
    colours = "[...document.querySelectorAll('#sample-body .token')].map(t => t.style.backgroundColor)"
    by_advantage = tab.run(colours)
    assert any("--shade-minus" in c for c in by_advantage) and any("--shade-plus" in c for c in by_advantage)
    put(tab, "#sample-shade", "entropy", "change")
    by_entropy = tab.run(colours)
    assert all("--shade-entropy" in c for c in by_entropy) and by_entropy != by_advantage
    put(tab, "#sample-shade", "", "change")
    assert set(tab.run(colours)) == {""}
    # Details of a row, token by token, with the keyboard.
    click(tab, "#sample-body button")
    tab.run("document.querySelector('.details .response').dispatchEvent(new KeyboardEvent('keydown', {key: 'Home'}))")
    assert "token 1 of" in tab.run("document.querySelector('.details .words').textContent")
    # Curves: a line and a band for each config; the legend hides one; arrow keys read values.
    plot = "[...document.querySelectorAll('.chart')].find(c => c.querySelector('strong')?.textContent === 'Reward')"
    tab.run(f"{plot}.scrollIntoView({{behavior: 'instant'}})")  # a chart is drawn when it comes into view
    tab.wait(f"{plot}.querySelectorAll('.mean').length === 2")
    assert tab.run(f"{plot}.querySelectorAll('.band').length") == 2
    tab.run(f"{plot}.querySelector('svg').dispatchEvent(new KeyboardEvent('keydown', {{key: 'End'}}))")
    tip = tab.run(f"{plot}.querySelector('.tip').innerText")
    assert "step 25" in tip and "clip-0.2 1.5 [1, 2], 2 seeds" in tip
    click(tab, ".legend button")
    assert tab.run(f"{plot}.querySelectorAll('.mean').length") == 1
    put(tab, "#smoothing", "20", "input")
    assert tab.run("document.querySelector('output').textContent") == "mean of 5 steps"
    click(tab, "#warm")
    assert tab.run(f"{plot}.querySelectorAll('.border').length") == 1
    assert tab.run("[...document.querySelectorAll('.differences tbody th')].map(t => t.textContent)") == [
        "method.losses.ppo_clip.epsilon",
        "seed",
    ]
    # Labels and names for those who cannot see it.
    assert tab.run("[...document.querySelectorAll('input, select')].every(e => e.labels.length)")
    assert tab.run("[...document.querySelectorAll('button')].every(e => (e.getAttribute('aria-label') || e.textContent).trim())")
    named = "e.getAttribute('aria-hidden') || e.getAttribute('aria-label') || !e.clientHeight"
    assert tab.run(f"[...document.querySelectorAll('svg')].every(e => {named})")
    for width, theme in ((390, "dark"), (1280, "light")):
        tab.resize(width)
        tab.theme(theme)
        assert tab.run("document.documentElement.scrollWidth <= innerWidth")
    assert tab.problems == [] and [url for url in tab.requests if not url.startswith("file:")] == [] and len(tab.requests) == 1


def test_hostile_text_in_a_browser(tab, tmp_path):
    folder = write_run(tmp_path / "run", texts=EVIL, rows=len(EVIL), samples=(20,))
    tab.open(report.write_report([folder], tmp_path / "out.html"))
    tab.wait("document.querySelectorAll('#sample-body tr').length > 0")
    for button in range(len(EVIL)):
        tab.run(f"document.querySelectorAll('#sample-body .toggle button')[{button}].click()")
    assert tab.run("window.broken") is None and tab.run("document.images.length") == 0 and tab.run("document.scripts.length") == 2
    shown = cells(tab, "Response")
    assert all(text.strip("\u2028") in s for text, s in zip(EVIL, shown, strict=True)) and tab.problems == []


def test_runs_of_any_size_in_a_browser(tab, tmp_path):
    for name, made in (
        ("begun", dict(steps=0)),
        ("ten", dict(steps=5)),
        ("long", dict(steps=10_000, rows=50, samples=range(100, 10_000, 100))),
    ):
        folder = write_run(tmp_path / name, **made)
        tab.open(report.write_report([folder], tmp_path / f"{name}.html"))
        tab.wait("document.querySelector('#footer').textContent.length > 0")
        assert ("every point stands for" in tab.run("document.getElementById('curve-note').textContent")) == (name == "long")
        assert tab.problems == []
    assert "of 4\u202f950 responses" in tab.run("document.getElementById('sample-count').textContent")
