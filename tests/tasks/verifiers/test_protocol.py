import pickle

import numpy as np
import pytest

from pojax.tasks.verifiers import bind
from pojax.types import Sample


def sample(text, reason="end"):
    return Sample(None, None, text, reason)


def test_components_of_several_verifiers_come_together():
    verifier = bind([("numeric", {"extract": "hash_marks"}), ("language_consistency", {})])
    assert verifier.fields == {"correct": (), "format": (), "language": ()} and verifier.seconds is None
    answer = verifier.prepare("It is so.\n#### 1,080")
    assert verifier(sample("yes #### $1080"), answer) == {"correct": 1.0, "format": 1.0, "language": 1.0}
    assert verifier(sample("да: #### no"), answer) == {"correct": 0.0, "format": 0.0, "language": 0.5}
    assert verifier.written(answer) == "#### 1,080" and verifier.found("so #### 12.0") == "12" and verifier.found("12") is None
    again = pickle.loads(pickle.dumps(verifier))
    assert again(sample("#### 1080", "length"), answer) == {"correct": 0.0, "format": 0.0, "language": 0.0}


def test_a_function_of_ones_own():
    verifier = bind(("misbehaving:plain_function", {"least": 2}))
    assert verifier.fields == {"correct": ()} and verifier.seconds is None
    assert [verifier(sample(text), verifier.prepare("ab"))["correct"] for text in ("ab", "b")] == [1.0, 0.0]
    assert verifier.written(("ab",)) is None and verifier.found(" ab ") == "ab"
    slow = bind([("misbehaving:judge", {"seconds": 3}), ("language_consistency", {})])
    assert slow.seconds == 3.0 and bind(("misbehaving:judge", {})).seconds == 0.2


@pytest.mark.parametrize(
    "value, message",
    [
        ("numeric", "verifier: found 'numeric', allowed: an entry"),
        ([], r"verifier: found \[\], allowed: an entry"),
        (("numerik", {}), "verifier: no function 'numerik' in pojax.tasks.verifiers; nearest: numeric"),
        (("numeric", {"extrakt": 1}), "verifier.extrakt: numeric has no option 'extrakt'; nearest: extract"),
        (("numeric", {"extract": "box"}), "extract: no function 'box'"),
        (("expression", {"seconds": 0}), "verifier.seconds: found 0, allowed: a number above 0"),
        (("expression", {"seconds": "1"}), "verifier.seconds: found '1'"),
        ([("numeric", {}), ("exact", {})], "verifier: 2 verifiers give the component 'correct'"),
        (("no_such_module:f", {}), "verifier: cannot import 'no_such_module'"),
    ],
)
def test_bad_entries(value, message):
    with pytest.raises(ValueError, match=message):
        bind(value)


@pytest.mark.parametrize("answer", [None, True, float("nan"), float("inf"), [1], {}])
def test_bad_answers(answer):
    for name in ("exact", "numeric", "expression"):
        with pytest.raises(ValueError, match="a text or a number"):
            bind((name, {})).prepare(answer)


def test_share_of_a_script():
    share = lambda text, **options: bind(("language_consistency", options))(sample(text), (None,))["language"]  # noqa: E731
    assert share("Twelve, naïve façade 12!") == 1.0 and share("") == share("12 + 3 = 15") == 0.0
    assert share("abc где", script="CYRILLIC") == 0.5 and share("漢字ab") == 0.5
    generator = np.random.default_rng(0)
    shares = [share("".join(map(chr, generator.integers(65, 1500, 60)))) for _ in range(8)]
    assert np.std(shares) > 0.01  # random text is told apart: advantages of random weights are not 0
