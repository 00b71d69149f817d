"""Rollout arrangements: programs over services that turn prompt indices into a Rollout.

arrange(key, indices, <services and tables it names>, *, hyper) -> Rollout. Written in jax.numpy without Python branches on values, an
arrangement runs inside one compiled program where the task verifies in JAX, and eagerly around the compiled sampler where it does not.

Services: `select(key) -> indices [P]`; `render(indices [n]) -> Prompts`; `sample(keys [n], prompts, *, temperature, limits=None) ->
Samples` (n a multiple of the prompts; row r continues prompt r // (n / P)); `verify(indices [n], samples) -> components` (NaN where a row
could not be scored); `evaluate(prompts, samples, temperature) -> log-probabilities [n, T]`; `reward(rollout) -> [n]`, the method's bound
rewards; `demonstrate(indices) -> (tokens, mask)`, worked solutions; `cond(predicate, true, false, *operands)`.
"""

from pojax.rollouts.arrangements import demonstrations, greedy_baseline, independent, mix, refill
from pojax.rollouts.rows import assemble, concatenate, row_keys

__all__ = ["demonstrations", "greedy_baseline", "independent", "mix", "refill"]
HELPERS = (assemble, concatenate, row_keys)  # for arrangements of your own
