"""Losses: values per token or per row; `pojax.losses.aggregations` holds the coefficients of their sum."""

from pojax.losses import aggregations as aggregations
from pojax.losses.entropy import entropy_bonus
from pojax.losses.kl import k1, k1_value_k2_gradient, k2, k3, k3_value_k2_gradient
from pojax.losses.likelihood import negative_log_likelihood
from pojax.losses.surrogates import policy_gradient, ppo_clip

__all__ = [
    "entropy_bonus",
    "k1",
    "k1_value_k2_gradient",
    "k2",
    "k3",
    "k3_value_k2_gradient",
    "negative_log_likelihood",
    "policy_gradient",
    "ppo_clip",
]
