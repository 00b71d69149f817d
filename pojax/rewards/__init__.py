"""Rewards: from what is known of a response to one number per response, or per token."""

from pojax.rewards.agreement import token_agreement
from pojax.rewards.combination import weighted_sum
from pojax.rewards.kl import sequence_kl_penalty, token_kl_penalty
from pojax.rewards.length import overlong_penalty

__all__ = ["overlong_penalty", "sequence_kl_penalty", "token_agreement", "token_kl_penalty", "weighted_sum"]
