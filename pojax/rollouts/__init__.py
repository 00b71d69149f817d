"""Rollout arrangements: programs over services that turn prompt indices into a Rollout.

arrange(key, indices, <services and tables it names>, *, hyper) -> Rollout. Written in jax.numpy without Python branches on values, an
arrangement runs inside one compiled program where the task verifies in JAX, and eagerly around the compiled sampler where it does not.

Services: `select(key) -> indices [P]`; `render(indices [n]) -> Prompts`; `sample(keys [n], prompts, *, temperature, limits=None,
forced=None, hold=False) -> Samples` (n a multiple of the prompts; row r continues prompt r // (n / P)); `verify(indices [n], samples) ->
components` (NaN where a row could not be scored); `evaluate(prompts, samples, temperature) -> log-probabilities [n, T]`;
`reward(rollout) -> [n]`, the method's bound rewards; `demonstrate(indices) -> (tokens, mask)`, worked solutions; `cond(predicate, true,
false, *operands)`; `encode(text) -> [token id]` of the task's tokenizer; `environment`, that of the task (see `pojax.tasks.Environment`).

Going on from inside a row: with `hold=True`, `sample` gives (Samples, Held), and `extend(held, keys [m], parents [m], cuts [m], *,
temperature, limits=None, forced=None, hold=False) -> Samples` (with hold: and Held) draws row r from the state before token cuts[r] of row
parents[r]. What it gives are whole rows: the parent's first cuts[r] tokens, with their mask and log-probabilities, then the forced
tokens, then what was drawn. No prefix is run through the model again. parents[r] must continue prompt r // (m / P), as row r does;
cuts[r] is at most held.lengths[parents[r]] (positions of the row in use, forced ones included). limits count the tokens drawn in this call.
forced = (tokens [n, F], counts [n]): the row goes on with its first counts[r] tokens, which enter the row with mask 0 and without a
log-probability. A token's noise is a function of its row's key and of its position in the row.

What arrangements give beside the fields of `independent` (B rows, T response tokens; float unless said otherwise, int is int32):

- `vine`: `values` [B, T], mean reward of the continuations from the state before the segment of token t, 0 where mask is 0; label
  `segment` [B, T] int, 0, 1, 2 ... along the row, -1 where mask is 0. The value after the last segment is the row's reward.
- `tree`, `branching_tree`, `turn_tree`: rows are the leaves of one tree (or several) per prompt. Labels `tree` [B] int, dense over the
  batch; `node` [B, T] int, dense id of the edge that token t belongs to, equal in all leaves that share the token, -1 where mask is 0.
- `budget_cuts`: component `budget_scores` [B, budgets], mean reward of the summaries after each budget; label `budget` [B, T] int, the
  number of budgets that end before token t, so that token t lies in (b_s, b_{s+1}] for s = budget; -1 where mask is 0. With
  `summary_rows=True` also rows of summaries, and labels `thinking`, `summary`, `cut` [B] int, which tell the two kinds apart.
- `from_prefixes`: label `prefix` [B, T] int, the steps 0 .. k - 1 of the worked solution that the row began with, then -1; its tokens have
  mask 0.
- `experts`, `replay`, `retempered`: rows added to those of another arrangement. Components `expert`, `replayed`, `retempered` [B], 1 on the
  added rows, and `sampled` [B], 1 on all others; label `pools` [B] int, the rows of a group that have one origin (`groups="pools"` keeps
  added rows out of the statistics of sampled ones), -1 = out. `seeded`: component `seeds` [B, T] int, a random number per token.
- `turns`, `turn_tree`: one row per episode, observations inside it with mask 0. Label `turn` [B, T] int (-1 where mask is 0). Components
  `step_rewards` [B, turns], 0 in turns that did not happen; `anchor` [B, turns] int, the environment's id of the state before the turn, -1
  in turns that did not happen; `episode_return` [B], their sum; `done` [B], 1 where the environment ended the episode.
"""

from pojax.rollouts.arrangements import demonstrations, greedy_baseline, independent, mix, refill, with_solutions
from pojax.rollouts.boundaries import after_token, every, low_probability
from pojax.rollouts.budgets import budget_cuts
from pojax.rollouts.experts import experts, seeded
from pojax.rollouts.prefixes import from_prefixes
from pojax.rollouts.replay import replay
from pojax.rollouts.retempered import retempered
from pojax.rollouts.rows import assemble, concatenate, row_keys
from pojax.rollouts.tree import branching_tree, tree, turn_tree
from pojax.rollouts.turns import turns
from pojax.rollouts.vine import vine

__all__ = [
    "after_token",
    "branching_tree",
    "budget_cuts",
    "demonstrations",
    "every",
    "experts",
    "from_prefixes",
    "greedy_baseline",
    "independent",
    "low_probability",
    "mix",
    "refill",
    "replay",
    "retempered",
    "seeded",
    "tree",
    "turn_tree",
    "turns",
    "vine",
    "with_solutions",
]
HELPERS = (assemble, concatenate, row_keys)  # for arrangements of your own
