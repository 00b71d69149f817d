"""Losses: values per token or per row; `pojax.losses.aggregations` holds the coefficients of their sum."""

from pojax.losses import aggregations as aggregations
from pojax.losses.bellman import tbrm
from pojax.losses.clipping import ce_gppo, cispo, delay_adapted_clip, gppo, pspo
from pojax.losses.constrained import codpo
from pojax.losses.direct_reward import dro_v
from pojax.losses.discriminative import disco, real
from pojax.losses.divergence import divergence_gated, dppo_kl, dppo_tv, ipo_intellect, prime_rl, prime_rl_ref_kl
from pojax.losses.entropy import entropy_bonus
from pojax.losses.kl import k1, k1_value_k2_gradient, k2, k3, k3_value_k2_gradient
from pojax.losses.likelihood import negative_log_likelihood
from pojax.losses.listwise import listwise_likelihood
from pojax.losses.mirror_descent import gaussian_kl, mdpo, mdpo_off_policy, tsallis_log
from pojax.losses.mixing import shaped_policy, unified_policy_gradient, weighted_likelihood
from pojax.losses.negative_aware import nft, nft_sequence
from pojax.losses.occupancy import occupancy_discriminator, response_divergence
from pojax.losses.one_token import one_token_rollout
from pojax.losses.pairs import trpa, trpa_unpaired
from pojax.losses.pairwise_ratio import p3o
from pojax.losses.q_sharp import q_sharp_bernoulli, q_sharp_categorical, q_sharp_loss, q_sharp_policy
from pojax.losses.ratio_penalties import absolute_log_ratio, importance_k3
from pojax.losses.regression import a_star_po, copg, rebel, reg_grpo, step_regression
from pojax.losses.regularized import rpg, rpg_clip, rpg_reinforce, rpg_reinforce_clip, rpg_reinforce_hard
from pojax.losses.sequence_clip import sequence_ppo_clip
from pojax.losses.sequence_ratio import gmpo, gspo, gspo_token, luspo, vespo
from pojax.losses.soft_clipping import sapo, spo_simple
from pojax.losses.surrogates import policy_gradient, ppo_clip
from pojax.losses.taylor import taypo

__all__ = [
    "a_star_po",
    "absolute_log_ratio",
    "ce_gppo",
    "cispo",
    "codpo",
    "copg",
    "delay_adapted_clip",
    "disco",
    "divergence_gated",
    "dppo_kl",
    "dppo_tv",
    "dro_v",
    "entropy_bonus",
    "gaussian_kl",
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
    "mdpo",
    "mdpo_off_policy",
    "negative_log_likelihood",
    "nft",
    "nft_sequence",
    "occupancy_discriminator",
    "one_token_rollout",
    "p3o",
    "policy_gradient",
    "ppo_clip",
    "prime_rl",
    "prime_rl_ref_kl",
    "pspo",
    "q_sharp_bernoulli",
    "q_sharp_categorical",
    "q_sharp_loss",
    "q_sharp_policy",
    "real",
    "rebel",
    "reg_grpo",
    "response_divergence",
    "rpg",
    "rpg_clip",
    "rpg_reinforce",
    "rpg_reinforce_clip",
    "rpg_reinforce_hard",
    "sapo",
    "sequence_ppo_clip",
    "shaped_policy",
    "spo_simple",
    "step_regression",
    "taypo",
    "tbrm",
    "trpa",
    "trpa_unpaired",
    "tsallis_log",
    "unified_policy_gradient",
    "vespo",
    "weighted_likelihood",
]
