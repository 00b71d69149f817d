import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import tiny_services as tiny

from pojax.rollouts import budget_cuts

P, T = tiny.P, 8
NAMES = ("render", "sample", "extend", "verify", "reward", "encode")


@pytest.fixture(scope="module")
def params():
    return tiny.parameters()


class Longer(tiny.Services):
    """Services with room for a summary behind the row."""

    def __init__(self, params, **others):
        super().__init__(params, response_tokens=T, **others)


@pytest.fixture(scope="module", autouse=True)
def room():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "CONFIG", dataclasses.replace(tiny.CONFIG, context=tiny.S + T))
        yield


@pytest.mark.parametrize("marker", ["", "25"])
def test_scores_are_those_of_the_cut_rows_with_their_summaries(params, marker):
    """From what the sampler gave, in loops."""
    services, samples, A = Longer(params), 2, 3
    rollout = services(budget_cuts, *NAMES, response_tokens=T, samples=samples, budgets="1-3", summaries=A, summary_tokens=2, marker=marker)
    told = [int(x) for x in marker]
    assert rollout.tokens.shape == (P * samples, T) and rollout.block == samples and not rollout.mask[:, 3:].any()
    np.testing.assert_array_equal(rollout.labels["budget"], np.where(rollout.mask, np.array([0, 1, 1] + [2] * (T - 3)), -1))
    drawn, lengths = services.drawn[1], np.asarray(services.held[1].lengths)
    kinds = set()
    for row in range(P * samples):
        length, ended = rollout.mask[row].sum(), not rollout.truncated[row]
        for j, budget in enumerate((1, 3)):
            over = ended and length <= budget
            found = []
            for a in range(A):
                at = (row * 2 + j) * A + a
                tokens = np.asarray(drawn.tokens[at])[: lengths[at]].tolist()
                assert tokens[: min(budget, length)] == rollout.tokens[row][: min(budget, length)].tolist()
                if over:
                    assert lengths[at] == length
                else:
                    assert tokens[budget : budget + len(told)] == told and lengths[at] <= budget + len(told) + 2
                    assert np.asarray(drawn.mask[at])[budget : budget + len(told)].sum() == 0
                found.append(sum(tokens) + 10.0 * (3 in tokens))
            expected = rollout.components["score"][row] if over else np.mean(found)
            assert rollout.components["budget_scores"][row, j] == pytest.approx(expected, rel=1e-6)
            kinds.add((j, over))
    assert len(kinds) >= 3
    assert services.prefilled() == P * tiny.S and len(services.held) == 2
    np.testing.assert_allclose(rollout.old_logprobs, tiny.learner_logprobs(params, rollout), atol=1e-4)


def test_evenly_spaced_budgets_and_room_for_the_summary(params):
    services = Longer(params, end_tokens=np.array([-1]))
    rollout = services(budget_cuts, *NAMES, response_tokens=T, samples=1, budgets=3, summaries=1, summary_tokens=1, marker="4")
    np.testing.assert_array_equal(rollout.labels["budget"][0], [0, 0, 1, 1, 2, 2, -1, -1])
    assert (np.asarray(services.held[1].lengths).reshape(P, 3) == [4, 6, 8]).all()


def test_summaries_as_rows(params):
    services, samples, A = Longer(params), 2, 2
    given = dict(response_tokens=T, samples=samples, budgets="1-3", summaries=A, summary_tokens=2, marker="5")
    alone = Longer(params)(budget_cuts, *NAMES, **given)
    both = services(budget_cuts, *NAMES, summary_rows=True, **given)
    block = samples * (1 + 2 * A)
    assert both.tokens.shape == (P * block, T) and both.block == block
    thinking = both.labels["thinking"] >= 0
    first = np.tile(np.arange(block) < samples, P)
    np.testing.assert_array_equal(thinking, first)
    for name in ("tokens", "mask", "old_logprobs", "groups"):
        np.testing.assert_array_equal(getattr(both, name)[first], getattr(alone, name))
    np.testing.assert_array_equal(both.components["budget_scores"][first], alone.components["budget_scores"])
    summaries = both.labels["summary"] >= 0
    np.testing.assert_array_equal(summaries, ~first & (both.groups >= 0))
    np.testing.assert_array_equal(both.labels["cut"] >= 0, summaries)
    assert (both.groups[~first] < 0).any() and summaries.any()
    # The mean over the rows of a cut is the score of their budget, and only the summary's own tokens count.
    order = np.repeat(np.arange(P * samples * 2), A)
    rows, cut = np.flatnonzero(~first), both.labels["cut"]
    for i, row in enumerate(rows):
        if not summaries[row]:
            continue
        assert cut[row] == order[i]
        owner, j = divmod(cut[row], 2)
        members = both.components["score"][np.flatnonzero(cut == cut[row])]
        assert alone.components["budget_scores"][owner, j] == pytest.approx(members.mean(), rel=1e-6) and len(members) == A
        inside = np.flatnonzero(both.mask[row])
        assert inside.min() == (1, 3)[j] + 1 and len(inside) <= 2
    np.testing.assert_allclose(np.where(both.mask, both.old_logprobs, 0.0), tiny.learner_logprobs(params, both), atol=1e-4)


def test_cuts_that_nothing_could_score_take_the_row_out(params):
    services = Longer(params)
    services["verify"] = lambda indices, samples: {
        "score": jnp.where(jnp.any(samples.mask & (samples.tokens == 4), axis=1), jnp.nan, tiny.score(samples.tokens, samples.mask))
    }
    rollout = services(budget_cuts, *NAMES, response_tokens=T, samples=4, budgets="1-3", summaries=1, summary_tokens=2)
    drawn, lengths = services.drawn[1], services.held[1].lengths
    fours = np.asarray((drawn.tokens == 4) & (np.arange(T) < np.asarray(lengths)[:, None])).any(1).reshape(-1, 2)
    out = fours.any(1) | ((rollout.tokens == 4) & rollout.mask).any(1)
    np.testing.assert_array_equal(rollout.groups < 0, out)
    assert out.any() and not out.all() and np.isfinite(rollout.components["budget_scores"]).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(budgets="3-2"), "budget_cuts: budgets is '3-2', allowed: rising numbers of tokens, at least 1 and at most 6"),
        (dict(budgets="2-7"), "budgets is '2-7'"),
        (dict(budgets="many"), "budgets is 'many'"),
        (dict(budgets=7), "budgets is 7"),
        (dict(budgets=0), "budgets is 0"),
        (dict(summaries=0), "budget_cuts: summaries is 0, allowed: 1 or more"),
        (dict(summary_tokens=0), "budget_cuts: summary_tokens is 0"),
        (dict(samples=0), "budget_cuts: samples is 0"),
    ],
)
def test_errors(params, given, message):
    with pytest.raises(ValueError, match=message):
        Longer(params)(budget_cuts, *NAMES, response_tokens=T, **{"summary_tokens": 2, **given})
