"""Advantages: baselines, normalisers, filters and corrections; from rewards to the credit of every response or token."""

from pojax.advantages.baselines import (
    batch_center,
    group_center,
    leave_one_out,
    length_weighted_center,
    remax,
    subtract_baseline,
)
from pojax.advantages.beta import beta_normalize, beta_normalize_each
from pojax.advantages.clip_bounds import bapo_bounds
from pojax.advantages.conflicts import conflict_weights, penalize_entropy
from pojax.advantages.covariance import drop_covariant_tokens, most_covariant_tokens
from pojax.advantages.dropout import drop_high_variance, paired_rows
from pojax.advantages.entropy_credit import entropy_clip, entropy_signal, redistribute_by_entropy, token_group_normalize
from pojax.advantages.filters import drop_truncated, drop_uniform_groups
from pojax.advantages.future import future_kl_weight
from pojax.advantages.importance import truncated_importance
from pojax.advantages.normalizers import (
    batch_normalize,
    group_center_batch_std,
    group_mean_normalize,
    group_normalize,
    rescale_to_informative,
    token_whiten,
)
from pojax.advantages.process import process_normalize
from pojax.advantages.returns import token_returns
from pojax.advantages.sequence_mask import off_policy_keep
from pojax.advantages.shaping import first_marker, shape_by_position
from pojax.advantages.tables import lookup
from pojax.advantages.token_baseline import optimal_token_baseline
from pojax.advantages.tokens import high_entropy_tokens, max_variance_rows, top_advantage_entropy_tokens

__all__ = [
    "bapo_bounds",
    "batch_center",
    "batch_normalize",
    "beta_normalize",
    "beta_normalize_each",
    "conflict_weights",
    "drop_covariant_tokens",
    "drop_high_variance",
    "drop_truncated",
    "drop_uniform_groups",
    "entropy_clip",
    "entropy_signal",
    "first_marker",
    "future_kl_weight",
    "group_center",
    "group_center_batch_std",
    "group_mean_normalize",
    "group_normalize",
    "high_entropy_tokens",
    "leave_one_out",
    "length_weighted_center",
    "lookup",
    "max_variance_rows",
    "most_covariant_tokens",
    "off_policy_keep",
    "optimal_token_baseline",
    "paired_rows",
    "penalize_entropy",
    "process_normalize",
    "redistribute_by_entropy",
    "remax",
    "rescale_to_informative",
    "shape_by_position",
    "subtract_baseline",
    "token_group_normalize",
    "token_returns",
    "token_whiten",
    "top_advantage_entropy_tokens",
    "truncated_importance",
]
