"""The gradient of every loss is mask * (pi / reference) * advantage, and what follows from it for methods that differ in one factor."""

import inspect
import json
import re
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import unified_view as page
from pojax import advantages, losses
from pojax.losses import aggregations
from pojax.unified_view import VIEWS, WITHOUT, factors

ROWS, TOKENS = 12, 5
CLIPS = [{}, {"epsilon": 0.1, "epsilon_high": 0.3}, {"epsilon": 0.2, "epsilon_high": 0.28, "dual_clip": 1.4}]
RPG = [{"kl": kl, "beta": 0.3, **hyper} for kl in ("fkl", "ufkl", "rkl", "urkl") for hyper in ({}, {"kl_bound": 0.2})]
WITHOUT_BOUND = [{k: v for k, v in hyper.items() if k != "kl_bound"} for hyper in RPG[::2]]
CASES = {  # hyper-parameters beside the defaults
    "ppo_clip": CLIPS,
    "delay_adapted_clip": CLIPS[:2],
    "cispo": [{"epsilon_high": 0.3}, {"epsilon": 0.2, "epsilon_high": 0.2}],
    "ce_gppo": [*CLIPS, {"beta_low": 1.7, "dual_clip": 1.2}, {"dual_clip": None}],
    "gppo": [*CLIPS, {"only_high": True}],
    "mdpo": [{"step_size": 0.4}, {"step_size": 0.4, "q": 1.7}],
    "rpg": RPG,
    "rpg_reinforce": RPG,
    "rpg_clip": [{**hyper, "dual_clip": 1.5} for hyper in WITHOUT_BOUND],
    "rpg_reinforce_clip": [{**hyper, "dual_clip": 1.5} for hyper in WITHOUT_BOUND],
    "rpg_reinforce_hard": WITHOUT_BOUND,
    "divergence_gated": [{"threshold": 0.1, "threshold_high": 0.05, "cap": 1.5}],
    "dppo_tv": [{}, {"threshold": 0.05, "threshold_high": 0.1, "cap": 1.5}],
    "dppo_kl": [{}, {"threshold": 0.02, "threshold_high": 0.1, "cap": 1.5}],
    "prime_rl": [{"threshold": 0.05, "threshold_high": 0.1}],
    "ipo_intellect": [{}],
    "prime_rl_ref_kl": [{"threshold": 0.05}],
    "weighted_likelihood": [{"weight": weight, "cutoff": 0.5} for weight in ("phi", "probability", "none")],
    "nft": [{"normalize": n, "clamp_positive": 0.8, "clamp_negative": 0.6, "neg_weight": 0.7} for n in (0, 1, 2)] + [{}],
    "nft_sequence": [{"normalize": n, "clamp_positive": 0.8, "clamp_negative": 0.6, "neg_weight": 0.7} for n in (0, 1, 2)] + [{}],
    "gspo": [{}, {"epsilon": 0.1, "epsilon_high": 0.2}],
    "gspo_token": [{}, {"epsilon": 0.1, "epsilon_high": 0.2}],
    "luspo": [{}, {"epsilon": 0.1, "epsilon_high": 0.2}],
    "taypo": [{"order": 1, "gamma": 0.9}, {"order": 2, "gamma": 0.9}],
    "dro_v": [{"tau": 0.3}],
    "response_divergence": [{"form": "chi2"}, {"form": "kl"}],
    "reg_grpo": [{"epsilon": 0.1, "ddof": 0}, {"epsilon": 0.1, "ddof": 1}],
    "rebel": [{"eta": 0.6, "form": form, "pairs": pairs} for form in ("paper", "code") for pairs in ("consecutive", "all")],
    "a_star_po": [{"beta": 0.3}],
    "disco": [{"tau": 0.7, "score": score, "form": form} for score in ("logL", "Lratio") for form in ("disco", "disco_b")],
    "p3o": [{"version": version} for version in ("none", "v1", "v2")],
}


def batch(seed=0):
    """Everything that a loss reads: groups of 5, 4, 1 and one row out; holes, an empty row; ratios well beyond all bounds."""
    rng = np.random.default_rng(seed)
    shape = (ROWS, TOKENS)
    groups = rng.permutation([4, 4, 4, 4, 4, 0, 0, 0, 0, 7, -1, 0])
    mask = (rng.uniform(size=shape) < 0.8).astype(float)
    mask[:, 0] = 1.0
    mask[np.flatnonzero(groups == 0)[0]] = 0.0
    old = -rng.uniform(0.05, 2.5, shape)
    logprobs = np.minimum(old + 0.5 * rng.normal(size=shape), -0.01)
    correct = rng.integers(0, 2, ROWS).astype(float)
    for g in (0, 4):
        correct[np.flatnonzero(groups == g)[1:3]] = [1.0, 0.0]
    role = np.zeros(ROWS, int)
    for g in (0, 4):
        role[np.flatnonzero(groups == g)[1:3]] = [-1, 1]
    return {
        "logprobs": logprobs, "old_logprobs": old, "rollout_logprobs": old, "reference_logprobs": old, "mask": mask, "groups": groups,
        "ref_logprobs": old + 0.3 * rng.normal(size=shape), "arrival_logprobs": old + 0.3 * rng.normal(size=shape),
        "advantages": rng.normal(size=shape), "rewards": rng.normal(size=ROWS), "correct": correct, "role": role,
        "levels": rng.integers(1, 4, ROWS), "v_star": rng.normal(size=ROWS), "values": rng.normal(size=shape),
        "log_partition": rng.normal(size=shape), "ref_log_partition": rng.normal(size=shape), "importance": rng.uniform(0.5, 1.5, shape),
        "drawn_hits": rng.uniform(size=shape), "drawn_misses": rng.normal(size=shape), "divergence": rng.uniform(0, 0.3, shape),
        "stable": rng.uniform(size=shape), "segment": np.sort(rng.integers(0, 3, shape), axis=1), "list_value": rng.normal(size=ROWS),
        "list_slope": rng.normal(size=ROWS), "kl": None,
    }  # fmt: skip


def parameters(name):
    return inspect.signature(getattr(losses, name)).parameters.values()


def read(name, data):
    """What a loss reads of the batch, by name."""
    return {p.name: data[p.name] for p in parameters(name) if p.kind is not p.KEYWORD_ONLY}


def coefficients(name, data, rank):
    """Random, of both signs; equal for what the loss couples."""
    rng = np.random.default_rng(3)
    tokens, level = rng.normal(size=(ROWS, TOKENS)), VIEWS[name].level
    rows = tokens[:, 0] if level != "group" else rng.normal(size=20)[data["groups"]]
    return tokens if rank == 2 and level == "token" else rows[:, None] if rank == 2 else rows


def gradient(function, x):
    return -jax.grad(function)(jnp.asarray(x))


def test_every_loss_has_a_view_or_a_reason():
    assert sorted([*VIEWS, *WITHOUT]) == sorted(losses.__all__)
    assert all(view.level in ("token", "response", "group") and view.weight and view.advantage and view.mask for view in VIEWS.values())


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_factors_reproduce_the_gradient(x64, name):
    needs = any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters(name))
    for seed, hyper in enumerate(([] if needs else [{}]) + CASES.get(name, [])):
        data = batch(seed + zlib.crc32(name.encode()) % 100)
        fields = read(name, data)
        rank = np.ndim(getattr(losses, name)(**fields, **hyper))
        c = coefficients(name, data, rank)

        def total(x, fields=fields, hyper=hyper, c=c):
            return jnp.sum(c * getattr(losses, name)(**{**fields, "logprobs": x}, **hyper))

        found = factors(name, **fields, **hyper)
        product = (c[:, None] if rank == 1 else c) * found.product
        expected = gradient(total, fields["logprobs"])
        np.testing.assert_allclose(product, expected, rtol=1e-9, atol=1e-12, err_msg=f"{name} {hyper}")
        assert np.any(expected), "a case without gradient shows nothing"
        assert all(factor.shape == (ROWS, TOKENS) for factor in found)


def test_masked_junk_is_harmless():
    data = batch()
    on = data["mask"] * (data["groups"] >= 0)[:, None]
    for name in ("copg", "gspo", "reg_grpo", "disco", "vespo"):
        fields = read(name, data)
        junk = fields | {k: np.where(on, fields[k], np.nan) for k in ("logprobs", "old_logprobs", "ref_logprobs") if k in fields}
        if name in ("gspo", "vespo"):
            junk = fields | {k: np.where(data["mask"], fields[k], np.nan) for k in ("logprobs", "old_logprobs", "advantages")}
        np.testing.assert_allclose(factors(name, **junk).product, factors(name, **fields).product, rtol=1e-5, atol=1e-6)


def test_positional_arguments_functions_and_arrays_of_hyper_parameters():
    data = batch()
    given = [data[k] for k in ("logprobs", "old_logprobs", "advantages")]
    one = factors(losses.ppo_clip, *given, epsilon=0.3)
    np.testing.assert_array_equal(one.product, factors("ppo_clip", *given, epsilon=np.full(ROWS, 0.3, np.float32)).product)


def test_what_is_refused():
    x = np.zeros((1, 1))
    with pytest.raises(ValueError, match=r"loss is 'ppo_klip' \(unknown\), allowed: \['ppo_clip'"):
        factors("ppo_klip", x, x, x)
    with pytest.raises(ValueError, match="entropy_bonus.*its gradient is that of all tokens"):
        factors(losses.entropy_bonus, x)
    with pytest.raises(ValueError, match="factors: order of taypo is 3, allowed: 1, 2"):
        factors("taypo", x, x, x, x, order=3)
    with pytest.raises(ValueError, match="ppo_clip: epsilon is -1"):
        factors("ppo_clip", x, x, x, epsilon=-1.0)


# -- equivalences -----------------------------------------------------------------------------------------------------------------


def loss_gradient(name, data, coefficients=1.0, **hyper):
    fields = read(name, data)
    return gradient(lambda x: jnp.sum(coefficients * getattr(losses, name)(**{**fields, "logprobs": x}, **hyper)), fields["logprobs"])


def same(x, y):
    assert np.any(np.asarray(y))
    np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


def binary(data):
    """Rewards of 0 and 1, both in each group of more than one; [B]."""
    return np.where(data["groups"] >= 0, data["correct"], 0.0)


def wide(x):
    return np.repeat(np.asarray(x)[:, None], TOKENS, axis=1)


def test_leave_one_out_is_dr_grpo_times_g_over_g_minus_1(x64):
    data = batch(1)
    size = np.array([np.sum(data["groups"] == g) for g in data["groups"]])
    factor = np.where(data["groups"] < 0, 0.0, size / np.maximum(size - 1, 1))
    same(advantages.leave_one_out(data["rewards"], data["groups"]), factor * advantages.group_center(data["rewards"], data["groups"]))


def test_beta_normalize_with_a_flat_density_is_reinforce_with_the_group_mean(x64):
    """alpha = beta = 1: all success rates are equal."""
    rewards, groups = np.tile([1.0, 0.0, 0.0], 4), np.repeat([3, 1, 0, 8], 3)
    np.testing.assert_allclose(advantages.beta.fit_beta(np.full(12, 1 / 3), groups), (1.0, 1.0))
    same(advantages.beta_normalize(rewards, groups), advantages.group_center(rewards, groups))


def test_gppo_adds_to_ppo_what_it_cuts(x64):
    data, hyper = batch(2), dict(epsilon=0.2, epsilon_high=0.28)
    ratio, a = np.exp(data["logprobs"] - data["old_logprobs"]), data["advantages"]
    cut = np.where((a > 0) & (ratio > 1.28), 1.28, np.where((a < 0) & (ratio < 0.8), 0.8, 0.0))
    same(loss_gradient("gppo", data, dual_clip=None, **hyper) - loss_gradient("ppo_clip", data, **hyper), cut * a)


def test_pspo_is_the_importance_weighted_policy_gradient_times_one_minus_alpha(x64):
    data = batch(3)
    same(loss_gradient("pspo", data, alpha=0.3), 0.7 * loss_gradient("unified_policy_gradient", data | {"stable": None}))


def test_unclipped_ratios_are_one_method(x64):
    """No clip (PPO), bound (CISPO), smoothing (PSPO), threshold (DPPO, prime-rl, INTELLECT) or KL (RPG, MDPO)."""
    data, off = batch(4), np.inf
    expected = loss_gradient("unified_policy_gradient", data | {"stable": None})
    unclipped = {
        "ppo_clip": dict(epsilon=off), "cispo": dict(epsilon_high=off), "pspo": dict(alpha=0.0), "rpg": dict(beta=0.0),
        "rpg_reinforce": dict(beta=0.0), "mdpo": dict(step_size=off), "dppo_tv": dict(threshold=off, cap=off),
        "dppo_kl": dict(threshold=off, cap=off), "prime_rl": dict(threshold=off), "ipo_intellect": dict(threshold=off),
    }  # fmt: skip
    for name, hyper in unclipped.items():
        same(loss_gradient(name, data, **hyper), expected)


def test_on_policy_everything_is_reinforce(x64):
    """At pi = pi_old the weight is 1 and no mask cuts: one gradient for all surrogates of tokens, and for those of responses by length."""
    data = batch(5)
    data = data | {"logprobs": data["old_logprobs"], "arrival_logprobs": data["old_logprobs"], "importance": None}
    on = data["mask"]
    expected = on * loss_gradient("policy_gradient", data)
    tokens = ["ppo_clip", "delay_adapted_clip", "cispo", "ce_gppo", "gppo", "sapo", "spo_simple", "mdpo", "rpg", "rpg_clip"]
    tokens += ["rpg_reinforce", "rpg_reinforce_clip", "rpg_reinforce_hard", "dppo_tv", "dppo_kl", "prime_rl", "ipo_intellect"]
    tokens += ["gspo_token", "vespo"]
    for name in tokens:
        same(loss_gradient(name, data, on), expected)
    same(loss_gradient("taypo", data, on, order=1), expected)
    rows = data | {"advantages": wide(data["rewards"])}
    expected, n = on * data["rewards"][:, None], np.maximum(on.sum(axis=1), 1)
    for name, scale in {"sequence_ppo_clip": 1.0, "luspo": 1.0, "gspo": n, "gmpo": n}.items():
        same(loss_gradient(name, rows, scale), expected)


def test_luspo_is_gspo_times_length(x64):
    data, hyper = batch(6), dict(epsilon=0.1, epsilon_high=0.2)
    n = data["mask"].sum(axis=1)
    same(losses.luspo(**read("luspo", data), **hyper), n * losses.gspo(**read("gspo", data), **hyper))
    same(loss_gradient("luspo", data, **hyper), loss_gradient("gspo", data, n, **hyper))


def test_gspo_token_is_gspo_where_a_row_has_one_advantage(x64):
    data, hyper = batch(7), dict(epsilon=0.1, epsilon_high=0.2)
    data["advantages"] = wide(data["rewards"])
    rows = aggregations.sequence_mean(data["mask"]), aggregations.sequence_mean(data["mask"].any(axis=1).astype(float))
    same(loss_gradient("gspo_token", data, rows[0], **hyper), loss_gradient("gspo", data, rows[1], **hyper))


def test_sequence_clip_and_gspo_are_ppo_at_one_token(x64):
    data, hyper = batch(8), dict(epsilon=0.1, epsilon_high=0.2)
    data["mask"] = np.eye(TOKENS)[np.arange(ROWS) % TOKENS]
    data["advantages"] = wide(data["rewards"])
    expected = data["mask"] * loss_gradient("ppo_clip", data, **hyper)
    for name in ("gspo", "luspo", "sequence_ppo_clip"):
        same(loss_gradient(name, data, **hyper), expected)


def test_released_rebel_is_eta_squared_times_the_paper(x64):
    data = batch(9)
    for pairs in ("consecutive", "all"):
        code = losses.rebel(**read("rebel", data), eta=0.3, form="code", pairs=pairs)
        same(code, 0.09 * losses.rebel(**read("rebel", data), eta=0.3, pairs=pairs))


def test_copg_is_rebel_on_all_pairs(x64):
    """Both are squared differences of reward minus beta rho over pairs: CoPG sums them over k - 1, REBEL averages them, eta = 1 / beta."""
    data = batch(10) | {"ref_logprobs": batch(10)["old_logprobs"]}
    k = np.array([np.sum(data["groups"] == g) for g in data["groups"]])
    same(losses.copg(**read("copg", data), beta=0.5), k / 2 * losses.rebel(**read("rebel", data), eta=2.0, pairs="all"))


def test_a_star_po_is_dro_with_the_optimal_value(x64):
    data = batch(11)
    data["values"] = data["v_star"]
    same(losses.a_star_po(**read("a_star_po", data), beta=0.3), 2 * losses.dro_v(**read("dro_v", data), tau=0.3))


def test_disco_b_is_a_policy_gradient_whose_advantage_is_the_class(x64):
    """disco_b is disco with tau at infinity; with both classes equally many, the advantage is +1 or -1 times the same number."""
    data = batch(12)
    far = loss_gradient("disco", data, tau=1e9)
    np.testing.assert_allclose(far, loss_gradient("disco", data, form="disco_b"), rtol=1e-6, atol=1e-9)
    data |= {"groups": np.repeat([0, 1], ROWS // 2), "correct": np.tile([1.0, 0.0], ROWS // 2), "mask": np.ones((ROWS, TOKENS))}
    mean = aggregations.group_mean(np.ones(ROWS), data["groups"])
    centred = advantages.group_center(data["correct"], data["groups"])
    expected = np.asarray(aggregations.group_mean(data["mask"], data["groups"])) * 4 * wide(centred)
    same(loss_gradient("disco", data, mean, form="disco_b"), expected)


def test_tree_standardised_twice_is_standardised_in_the_tree(x64):
    """The third estimator of Tree-GRPO's code: by prompt, then by tree."""
    rng = np.random.default_rng(14)
    rewards, groups, tree = rng.normal(size=12), np.repeat([0, 1], 6), np.tile([0, 0, 0, 1, 1, 1], 2)
    within = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    once = advantages.group_normalize(rewards, groups, epsilon=0.0)
    twice = advantages.group_normalize(once, within, epsilon=0.0)
    same(advantages.tree_and_group_normalize(rewards, groups, tree, inter=0.0, epsilon=0.0), twice)


def test_max_at_one_is_reinforce_and_at_all_but_one_the_lead_of_the_best(x64):
    """Best of k = n - 1 leaves one out: the sum over subsets has the best everywhere but where it is left out."""
    data = batch(15)
    size = np.array([np.sum(data["groups"] == g) for g in data["groups"]])
    same(advantages.max_at_k(data["rewards"], data["groups"], k=1), np.where(data["groups"] < 0, 0.0, data["rewards"] / size))
    groups, rewards = np.zeros(5, int), np.random.default_rng(0).normal(size=5)
    shares = advantages.max_at_k(rewards, groups, k=4)
    lead = advantages.best_minus_second(rewards, groups)
    same(shares - jnp.min(shares), lead / 5)


def test_rejection_fine_tuning_is_reinforce_with_rewards_of_0_and_1(x64):
    data = batch(16)
    right = wide(binary(data))
    same(loss_gradient("negative_log_likelihood", data, right), loss_gradient("policy_gradient", data | {"advantages": right}))
    nft = loss_gradient("nft", data | {"logprobs": data["old_logprobs"]}, normalize=0, neg_weight=0.0)
    same(nft, right * (data["groups"] >= 0)[:, None])


def test_squared_log_ratios_are_policy_gradients_of_kl_in_the_reward(x64):
    """k2 as a loss is the policy gradient with advantage -(logprob - ref), the KL in the reward; on policy k3 with the ratio is too."""
    data = batch(17)
    penalty = data["ref_logprobs"] - data["logprobs"]
    expected = loss_gradient("policy_gradient", data | {"advantages": penalty})
    for name in ("k2", "k1_value_k2_gradient", "k3_value_k2_gradient"):
        same(loss_gradient(name, data), expected)
    on_policy = data | {"logprobs": data["old_logprobs"]}
    same(loss_gradient("importance_k3", on_policy), loss_gradient("k2", on_policy))


def test_mirror_descent_and_rpg_penalise_one_divergence(x64):
    """MDPO's estimate w log w - w + 1 is RPG's urkl: the same gradient with beta = 1 / step_size."""
    data = batch(18)
    same(loss_gradient("mdpo", data, step_size=4.0), loss_gradient("rpg", data, kl="urkl", beta=0.25))


def test_vespo_has_one_weight_for_all_tokens_of_a_row(x64):
    data = batch(19)
    on = data["mask"] != 0
    weight = np.asarray(factors("vespo", **read("vespo", data | {"advantages": np.ones((ROWS, TOKENS)), "importance": None})).weight)
    total = np.sum(np.where(on, data["logprobs"] - data["old_logprobs"], 0), axis=1)
    same(weight, wide(np.exp(3 + 2 * total - 3 * np.exp(total))))


# -- page and notebook ------------------------------------------------------------------------------------------------------------


def test_page_is_what_the_code_gives():
    """docs/unified_view.md is what `python -m experiments.unified_view` writes."""
    assert page.PAGE.read_text() == page.page()


def test_equivalences_that_the_page_names_are_tests():
    for test, _ in page.equivalences():
        path, name = test.split("::")
        assert f"def {name}(" in (page.ROOT / path).read_text(), test
    text = (page.ROOT / "tests" / "test_unified_view.py").read_text().split("# -- equivalences")[1].split("# -- page")[0]
    here = re.findall(r"^def (test_\w+)", text, re.MULTILINE)
    assert {f"tests/test_unified_view.py::{name}" for name in here} <= {test for test, _ in page.equivalences()}


def test_notebook_is_stored_with_its_figures():
    notebook = json.loads((page.ROOT / "notebooks" / "02_one_gradient.ipynb").read_text())
    outputs = [o for cell in notebook["cells"] for o in cell.get("outputs", [])]
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 2
