"""Rewards: from what is known of a response to one number per response, or per token."""

from pojax.rewards.agreement import token_agreement
from pojax.rewards.boxes import box_edges, box_hit, box_iou, box_reward
from pojax.rewards.combination import weighted_sum
from pojax.rewards.hypervolume import scale_reward
from pojax.rewards.kl import sequence_kl_penalty, token_kl_penalty
from pojax.rewards.length import conciseness, overlong_penalty
from pojax.rewards.likelihood_rank import unlikeliness
from pojax.rewards.occupancy import occupancy_penalty
from pojax.rewards.rubric import confidence_weighted_rubric, mean_probability
from pojax.rewards.truncation import stop_properly_penalty

__all__ = [
    "box_edges",
    "box_hit",
    "box_iou",
    "box_reward",
    "conciseness",
    "confidence_weighted_rubric",
    "mean_probability",
    "occupancy_penalty",
    "overlong_penalty",
    "scale_reward",
    "sequence_kl_penalty",
    "stop_properly_penalty",
    "token_agreement",
    "token_kl_penalty",
    "unlikeliness",
    "weighted_sum",
]
