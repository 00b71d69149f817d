"""Advantages: baselines, normalisers, filters and corrections; from rewards to the credit of every response or token."""

from pojax.advantages.asymmetric import difficulty_kl_weight, push_long_failures
from pojax.advantages.baselines import (
    batch_center,
    group_center,
    leave_one_out,
    length_weighted_center,
    remax,
    subtract_baseline,
)
from pojax.advantages.best_of_k import best_minus_second, max_at_k, max_at_k_off_policy
from pojax.advantages.beta import beta_normalize, beta_normalize_each
from pojax.advantages.budgets import budget_advantages, summary_advantages
from pojax.advantages.clip_bounds import bapo_bounds
from pojax.advantages.conflicts import conflict_weights, penalize_entropy
from pojax.advantages.consistency import answer_entropy, consistency_advantages, consistency_weights
from pojax.advantages.constrained import calibrated_reward, constrained_best, constrained_pairs, constrained_reward, judges_satisfied
from pojax.advantages.constraints import chi2_root, kl_hinge, kl_root
from pojax.advantages.covariance import drop_covariant_tokens, most_covariant_tokens
from pojax.advantages.curvature import curvature_trust
from pojax.advantages.decoupled import decoupled_normalize
from pojax.advantages.difficulty import hard_prompt_weight, size_weight
from pojax.advantages.dropout import drop_high_variance, paired_rows
from pojax.advantages.entropy_credit import entropy_clip, entropy_signal, redistribute_by_entropy, token_group_normalize
from pojax.advantages.entropy_target import swap_in_retempered
from pojax.advantages.episodes import episode_and_step_advantages
from pojax.advantages.filtered_groups import brevity_score, keep_best
from pojax.advantages.filters import drop_duplicates, drop_failures, drop_truncated, drop_uniform_groups, drop_without_credit
from pojax.advantages.future import future_kl_weight
from pojax.advantages.gates import divergence_gate
from pojax.advantages.importance import masked_importance, normalized_importance, truncated_importance
from pojax.advantages.listwise import listwise_slopes
from pojax.advantages.normalizers import (
    batch_normalize,
    group_center_batch_std,
    group_mean_normalize,
    group_normalize,
    rescale_to_informative,
    token_whiten,
)
from pojax.advantages.observations import observation_spans, observation_weights
from pojax.advantages.optimal_values import a_star_value
from pojax.advantages.options import centred_advantages
from pojax.advantages.pairs import pair_share, preference_levels, unpaired_share
from pojax.advantages.peers import peer_groups, proposer_solver_episodes
from pojax.advantages.prefixes import prefix_advantages, staged_advantages
from pojax.advantages.process import process_normalize
from pojax.advantages.rejection import reject_divergent, veto_improbable
from pojax.advantages.relative_difficulty import relative_difficulty
from pojax.advantages.resampling import filter_extremes, filtration_weights, resample, resampled_normalize
from pojax.advantages.returns import token_returns
from pojax.advantages.risk import bundle_prompts, mixed_value_at_risk, mixed_value_at_risk_by_bundle
from pojax.advantages.roles import role_center
from pojax.advantages.segments import low_probability, segment_advantages
from pojax.advantages.sequence_mask import off_policy_keep
from pojax.advantages.sets import first_tokens, identical_responses, random_sets, set_advantages
from pojax.advantages.shaping import first_marker, shape_by_position
from pojax.advantages.steps import step_starts
from pojax.advantages.tables import lookup
from pojax.advantages.token_baseline import optimal_token_baseline
from pojax.advantages.tokens import high_entropy_tokens, max_variance_rows, top_advantage_entropy_tokens
from pojax.advantages.trees import count_edges_once, tree_advantages, tree_and_group_normalize, tree_values
from pojax.advantages.unified import (
    capped_reference,
    clip_stability,
    demonstration_gate,
    expert_advantages,
    expert_reference,
    sequence_reference,
    shaping_stability,
)

__all__ = [
    "a_star_value",
    "answer_entropy",
    "bapo_bounds",
    "batch_center",
    "batch_normalize",
    "best_minus_second",
    "beta_normalize",
    "beta_normalize_each",
    "brevity_score",
    "budget_advantages",
    "bundle_prompts",
    "calibrated_reward",
    "capped_reference",
    "centred_advantages",
    "chi2_root",
    "clip_stability",
    "conflict_weights",
    "consistency_advantages",
    "consistency_weights",
    "constrained_best",
    "constrained_pairs",
    "constrained_reward",
    "count_edges_once",
    "curvature_trust",
    "decoupled_normalize",
    "demonstration_gate",
    "difficulty_kl_weight",
    "divergence_gate",
    "drop_covariant_tokens",
    "drop_duplicates",
    "drop_failures",
    "drop_high_variance",
    "drop_truncated",
    "drop_uniform_groups",
    "drop_without_credit",
    "entropy_clip",
    "entropy_signal",
    "episode_and_step_advantages",
    "expert_advantages",
    "expert_reference",
    "filter_extremes",
    "filtration_weights",
    "first_marker",
    "first_tokens",
    "future_kl_weight",
    "group_center",
    "group_center_batch_std",
    "group_mean_normalize",
    "group_normalize",
    "hard_prompt_weight",
    "high_entropy_tokens",
    "identical_responses",
    "judges_satisfied",
    "keep_best",
    "kl_hinge",
    "kl_root",
    "leave_one_out",
    "length_weighted_center",
    "listwise_slopes",
    "lookup",
    "low_probability",
    "masked_importance",
    "max_at_k",
    "max_at_k_off_policy",
    "max_variance_rows",
    "mixed_value_at_risk",
    "mixed_value_at_risk_by_bundle",
    "most_covariant_tokens",
    "normalized_importance",
    "observation_spans",
    "observation_weights",
    "off_policy_keep",
    "optimal_token_baseline",
    "pair_share",
    "paired_rows",
    "peer_groups",
    "penalize_entropy",
    "preference_levels",
    "prefix_advantages",
    "process_normalize",
    "proposer_solver_episodes",
    "push_long_failures",
    "random_sets",
    "redistribute_by_entropy",
    "reject_divergent",
    "relative_difficulty",
    "remax",
    "resample",
    "resampled_normalize",
    "rescale_to_informative",
    "role_center",
    "segment_advantages",
    "sequence_reference",
    "set_advantages",
    "shape_by_position",
    "shaping_stability",
    "size_weight",
    "staged_advantages",
    "step_starts",
    "subtract_baseline",
    "summary_advantages",
    "swap_in_retempered",
    "token_group_normalize",
    "token_returns",
    "token_whiten",
    "top_advantage_entropy_tokens",
    "tree_advantages",
    "tree_and_group_normalize",
    "tree_values",
    "truncated_importance",
    "unpaired_share",
    "veto_improbable",
]
