"""The unified view in one page, from the code: `python -m experiments.unified_view` writes docs/unified_view.md.

The factors are those of `pojax.unified_view`, the methods those of `configs/`; `EQUIVALENCES` names tests.
"""

import importlib
import sys
from collections.abc import Iterable
from typing import Any

from experiments.methods import ROOT, names
from pojax.unified_view import VIEWS, WITHOUT

PAGE = ROOT / "docs" / "unified_view.md"
LEVELS = {
    "token": "Each token by itself",
    "response": "Responses: the coefficient is that of the row",
    "group": "Groups: the coefficient is that of the row, the same for all k rows of a group",
}
HEAD = """# One gradient

Every loss of `pojax.losses` on log-probabilities of sampled responses has a gradient of one form. For token t of response b

    -dL / dlogprob[b, t] = coefficient * mask * (pi / reference) * advantage
    -dL / dparameters    = sum over b, t of that number * d log pi(token) / d parameters

- **coefficient**: of the aggregation (token_mean, sequence_mean, ...), times the scale of the term.
- **mask**: which tokens pass a gradient. 0 or 1 for clips and gates; a factor that is 1 on policy where the trust region is smooth.
- **pi / reference**: how much a sample of another policy counts. r = pi / pi_old in PPO: the reference is the policy that sampled. 1 in
  REINFORCE and supervised fine-tuning: the reference is pi itself, as a constant. pi itself where an expert is given probability 1.
- **advantage**: where to. Reward minus baseline; 1 for a demonstration; the log-ratio for a penalty; the residual for a regression.

So a regression to a reward and a policy gradient differ in one factor: the residual is an advantage that shrinks as the policy moves.

The factors below are in closed form; `pojax.unified_view.factors("gspo", logprobs, old_logprobs, advantages, mask)` computes them from the
arguments of the loss. `tests/test_unified_view.py::test_factors_reproduce_the_gradient` holds them against `jax.grad` of each loss in
float64 to 1e-9: ragged masks, groups of several sizes, both signs of the advantage, ratios inside and outside of all bounds.
[02_one_gradient.ipynb](../notebooks/02_one_gradient.ipynb) plots them.

Notation: r = pi / pi_old of the token (losses clamp its logarithm to [-20, 20]); p and q, probability of the token now and when it was
sampled; n, tokens of the response; rho, sum over the response of log(pi / pi_old), or of log(pi / pi_ref) where the loss reads a reference;
A, what the advantage rules gave; k, rows of the group. Tokens that are masked out have mask 0 everywhere.

Made by `python -m experiments.unified_view`.
"""
METHODS = """## Methods

Where A comes from (rules of the whole batch, then of every optimiser batch), and the terms: mask and reference are those of the loss,
above; a field after x multiplies the coefficient. Without a rule A is the reward, or the loss reads the reward itself.
"""

# Which methods are one, and the test that says so.
EQUIVALENCES = """
tests/losses/test_mixing.py::test_every_instance_of_the_table
SFT, REINFORCE, PPO and GRPO, CISPO, GSPO, SRFT and LUFFY are `unified_policy_gradient`

tests/test_unified_view.py::test_on_policy_everything_is_reinforce
on policy all token surrogates (clipped, soft, gated, regularised, VESPO, GSPO-token, TayPO of order 1) have the gradient of
REINFORCE; so have sequence clip and LUSPO, and GSPO and GMPO over the length

tests/test_unified_view.py::test_unclipped_ratios_are_one_method
PPO without a clip = CISPO without a bound = PSPO at alpha 0 = DPPO, prime-rl and INTELLECT without a threshold = RPG and MDPO
without a KL

tests/test_unified_view.py::test_leave_one_out_is_dr_grpo_times_g_over_g_minus_1
RLOO = Dr. GRPO times G / (G - 1)

tests/test_unified_view.py::test_beta_normalize_with_a_flat_density_is_reinforce_with_the_group_mean
BNPO at alpha = beta = 1 = REINFORCE with the group mean

tests/advantages/test_beta.py::test_card_symmetric_is_group_normalize_up_to_a_constant
BNPO at alpha = beta = 3/2 = GRPO (population deviation) times pi / 8

tests/advantages/test_baselines.py::test_length_weighted_center_in_double_precision
OPO with equal lengths = Dr. GRPO

tests/advantages/test_token_baseline.py::test_equal_energies_give_the_mean_of_the_group_and_none_give_the_return
optimal token baseline with equal energies = Dr. GRPO

tests/advantages/test_process.py::test_one_step_each_is_outcome_supervision
GRPO with process rewards, one step each = GRPO

tests/advantages/test_trees.py::test_leaves_of_depth_one_are_group_center
a tree of depth one = Dr. GRPO

tests/advantages/test_trees.py::test_within_and_across_trees
Tree-GRPO with inter 0, and with trees of one leaf = GRPO by tree, and by prompt

tests/test_unified_view.py::test_tree_standardised_twice_is_standardised_in_the_tree
Tree-GRPO's third estimator (by prompt, then by tree) = by tree alone

tests/advantages/test_best_of_k.py::test_max_at_k_by_enumeration
the shares of max@k add up to k max@k

tests/test_unified_view.py::test_max_at_one_is_reinforce_and_at_all_but_one_the_lead_of_the_best
max@1 = REINFORCE / G; max@(G - 1) = a constant + (best minus second) / G

tests/losses/test_sequence_ratio.py::test_one_token_and_no_clip
GMPO without a clip = GSPO without a clip; GSPO at one token = PPO-clip

tests/test_unified_view.py::test_sequence_clip_and_gspo_are_ppo_at_one_token
with one token per response GSPO = LUSPO = TRL's RLOO loss = PPO-clip, in gradient

tests/test_unified_view.py::test_gspo_token_is_gspo_where_a_row_has_one_advantage
GSPO-token with one advantage per response = GSPO

tests/test_unified_view.py::test_luspo_is_gspo_times_length
LUSPO = GSPO times the length

tests/losses/test_sequence_ratio.py::test_vespo_far_away_and_on_policy
VESPO on policy = REINFORCE, in value too

tests/test_unified_view.py::test_vespo_has_one_weight_for_all_tokens_of_a_row
VESPO's weight is exp(lam + k log W - lam W) of the response

tests/losses/test_clipping.py::test_gradient_preserving_clips_against_ppo
GPPO (CE-GPPO with betas 1, by definition) = PPO-clip in value; CE-GPPO with betas 0 = PPO-clip in gradient

tests/test_unified_view.py::test_gppo_adds_to_ppo_what_it_cuts
GPPO = PPO-clip + the bound times A where PPO cuts, in gradient

tests/losses/test_clipping.py::test_card_of_delay_adapted_clip
delay-adapted without delay = PPO-clip

tests/test_unified_view.py::test_pspo_is_the_importance_weighted_policy_gradient_times_one_minus_alpha
PSPO = (1 - alpha) times the importance-weighted policy gradient

tests/advantages/test_covariance.py::test_clip_cov_without_candidates_is_ppo
Clip-Cov without candidates = PPO-clip

tests/losses/test_taylor.py::test_on_policy_it_is_the_policy_gradient
TayPO of order 2 on policy = REINFORCE

tests/losses/test_regularized.py::test_differentiable_and_reinforce_forms_have_one_gradient
RPG = RPG-REINFORCE, in gradient

tests/test_unified_view.py::test_mirror_descent_and_rpg_penalise_one_divergence
MDPO = RPG with urkl and beta = 1 / step_size, in gradient

tests/test_unified_view.py::test_squared_log_ratios_are_policy_gradients_of_kl_in_the_reward
k2 as a loss = a policy gradient with advantage log(pi_ref / pi); on policy, k3 times the ratio = k2, in gradient

tests/losses/test_negative_aware.py::test_on_policy_it_is_the_gradient_of_grpo
NFT on policy: normalize 1 = Dr. GRPO, 2 = GRPO (population deviation)

tests/test_unified_view.py::test_rejection_fine_tuning_is_reinforce_with_rewards_of_0_and_1
RFT = REINFORCE with rewards 0 and 1 = NFT on policy with neg_weight 0 and normalize 0

tests/losses/test_one_token.py::test_gradient_is_that_of_reinforce_on_the_draws
One-Token Rollout = REINFORCE on the drawn tokens

tests/losses/test_regression.py::test_copg_is_the_leave_one_out_policy_gradient_of_the_regularised_reward
CoPG = RLOO with the KL in the reward, times 2 beta

tests/test_unified_view.py::test_copg_is_rebel_on_all_pairs
CoPG to the old policy = REBEL on all pairs with eta = 1 / beta, times k / 2

tests/test_unified_view.py::test_released_rebel_is_eta_squared_times_the_paper
REBEL of the released code = eta^2 times the paper's

tests/test_unified_view.py::test_a_star_po_is_dro_with_the_optimal_value
A*-PO = 2 times DRO-V with V = V* held fixed

tests/losses/test_direct_reward.py::test_gradient_is_that_of_the_token_form_with_a_sequence_penalty
DRO-V = tau times a policy gradient with advantage reward - V - tau rho

tests/losses/test_regression.py::test_card_of_reg_grpo
Reg-GRPO at epsilon 0, ddof 0: its mean is 2 (1 - correlation of reward and rho)

tests/losses/test_regression.py::test_reg_grpo_on_policy_is_finite
Reg-GRPO on policy = GRPO's policy gradient times 2 / epsilon

tests/losses/test_pairwise_ratio.py::test_one_gradient_where_no_update_was_made
all forms of P3O on policy: D times the difference of the two scores

tests/test_unified_view.py::test_disco_b_is_a_policy_gradient_whose_advantage_is_the_class
DisCO at large tau = DisCO-b; with equally many right and wrong = Dr. GRPO's advantage with tokens averaged in the response, times
4
"""


def equivalences() -> list[tuple[str, str]]:
    """(test, what it shows)."""
    return [(lines[0], " ".join(lines[1:])) for lines in (block.split("\n") for block in EQUIVALENCES.strip().split("\n\n"))]


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def table(level: str, used: dict[str, list[str]]) -> list[str]:
    lines = [f"### {LEVELS[level]}", "", "| loss | mask | pi / reference | advantage | configs |", "|---|---|---|---|---|"]
    for name, view in VIEWS.items():
        if view.level == level:
            configs = ", ".join(used.get(name, []))
            shown = configs if len(configs) < 120 else f"{len(used[name])} configs"
            lines.append(f"| `{name}` | {cell(view.mask)} | {cell(view.weight)} | {cell(view.advantage)} | {shown} |")
    return [*lines, ""]


def parts(config: str) -> tuple[list[str], list[str]]:
    """(advantage rules, with those of every optimiser batch; terms of the loss as "loss" or "loss x field") of a config."""
    method = importlib.import_module(f"configs.{config}").get_config().method
    rules = [entry[0] for entry in method.get("advantages", ())]
    terms = []
    for update in method.get("updates", None) or [method]:
        rules += [entry[0] for entry in update.get("per_minibatch", ())]
        for loss, given in update["losses"]:
            scale = given.get("scale", 1.0)
            fields = scale if isinstance(scale, list) else [scale]  # a tuple is a schedule
            terms.append(" x ".join([f"`{loss}`", *(f for f in fields if isinstance(f, str))]))
    return rules, terms


def page() -> str:
    """The whole page."""
    found = {config: parts(config) for config in names()}
    used: dict[str, list[str]] = {}
    for config, (_, terms) in found.items():
        for loss in dict.fromkeys(term.split("`")[1] for term in terms):
            used.setdefault(loss, []).append(config)
    lines = [HEAD, "## Losses", ""]
    for level in LEVELS:
        lines += table(level, used)
    lines += ["Without such a form:", "", *(f"- `{name}`: {reason}." for name, reason in WITHOUT.items()), ""]
    lines += [METHODS, "| config | A | terms of the loss |", "|---|---|---|"]
    lines += [f"| {config} | {_code(rules)} | {', '.join(dict.fromkeys(terms))} |" for config, (rules, terms) in found.items()]
    lines += ["", "## Equivalences that are tested", ""]
    lines += [f"- {what}. `{test}`" for test, what in equivalences()]
    return "\n".join(lines) + "\n"


def _code(rules: Iterable[Any]) -> str:
    return ", ".join(f"`{rule}`" for rule in dict.fromkeys(rules))


def main() -> int:
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
