"""Parameters and prompts to tokens and log-probabilities."""

from pojax.sampling.filters import truncate
from pojax.sampling.sampler import sample

__all__ = ["sample", "truncate"]
