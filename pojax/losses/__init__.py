"""Losses: values per token or per row; `pojax.losses.aggregations` holds the coefficients of their sum."""

from pojax.losses import aggregations as aggregations
from pojax.losses.clipping import ce_gppo, cispo, delay_adapted_clip, gppo, pspo
from pojax.losses.constrained import codpo
from pojax.losses.direct_reward import dro_v
from pojax.losses.divergence import divergence_gated, dppo_kl, dppo_tv, ipo_intellect, prime_rl, prime_rl_ref_kl
from pojax.losses.entropy import entropy_bonus
from pojax.losses.kl import k1, k1_value_k2_gradient, k2, k3, k3_value_k2_gradient
from pojax.losses.likelihood import negative_log_likelihood
from pojax.losses.listwise import listwise_likelihood
from pojax.losses.pairwise_ratio import p3o
from pojax.losses.ratio_penalties import absolute_log_ratio, importance_k3
from pojax.losses.sequence_clip import sequence_ppo_clip
from pojax.losses.sequence_ratio import gmpo, gspo, gspo_token, luspo, vespo
from pojax.losses.soft_clipping import sapo, spo_simple
from pojax.losses.surrogates import policy_gradient, ppo_clip

__all__ = [
    "absolute_log_ratio",
    "ce_gppo",
    "cispo",
    "codpo",
    "delay_adapted_clip",
    "divergence_gated",
    "dppo_kl",
    "dppo_tv",
    "dro_v",
    "entropy_bonus",
    "gmpo",
    "gppo",
    "gspo",
    "gspo_token",
    "importance_k3",
    "ipo_intellect",
    "k1",
    "k1_value_k2_gradient",
    "k2",
    "k3",
    "k3_value_k2_gradient",
    "listwise_likelihood",
    "luspo",
    "negative_log_likelihood",
    "p3o",
    "policy_gradient",
    "ppo_clip",
    "prime_rl",
    "prime_rl_ref_kl",
    "pspo",
    "sapo",
    "sequence_ppo_clip",
    "spo_simple",
    "vespo",
]
