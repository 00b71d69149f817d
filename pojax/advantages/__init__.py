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
from pojax.advantages.dropout import drop_high_variance, paired_rows
from pojax.advantages.filters import drop_truncated, drop_uniform_groups
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
from pojax.advantages.tables import lookup

__all__ = [
    "bapo_bounds",
    "batch_center",
    "batch_normalize",
    "beta_normalize",
    "beta_normalize_each",
    "drop_high_variance",
    "drop_truncated",
    "drop_uniform_groups",
    "group_center",
    "group_center_batch_std",
    "group_mean_normalize",
    "group_normalize",
    "leave_one_out",
    "length_weighted_center",
    "lookup",
    "paired_rows",
    "process_normalize",
    "remax",
    "rescale_to_informative",
    "subtract_baseline",
    "token_returns",
    "token_whiten",
    "truncated_importance",
]
