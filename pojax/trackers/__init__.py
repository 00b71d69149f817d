"""Trackers: tables that persist between iterations; read anywhere by name, written in one place."""

from pojax.trackers.entropy import adaptive_entropy, entropy_statistics, initial_entropy
from pojax.trackers.entropy_target import entropy_target
from pojax.trackers.histories import reward_history
from pojax.trackers.means import running_mean
from pojax.trackers.pareto import pareto_front
from pojax.trackers.quantiles import running_quantiles
from pojax.trackers.replay import replay_buffer
from pojax.trackers.reward_weights import reward_weights
from pojax.trackers.roles import role_averages
from pojax.trackers.success_rates import single_stream
from pojax.trackers.tracker import Tracker as Tracker

__all__ = [
    "adaptive_entropy",
    "entropy_statistics",
    "entropy_target",
    "initial_entropy",
    "pareto_front",
    "replay_buffer",
    "reward_history",
    "reward_weights",
    "role_averages",
    "running_mean",
    "running_quantiles",
    "single_stream",
]
