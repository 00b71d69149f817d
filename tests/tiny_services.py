"""The services of an arrangement on a decoder of one layer, with a verdict that is a function of the tokens; no task, no learner."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from pojax import models
from pojax.sampling import extend, sample
from pojax.types import Prompts

VOCABULARY, S, T, P = 7, 3, 6, 4
END = np.array([1, -1])
CONFIG = models.qwen2(vocab_size=VOCABULARY, hidden=16, layers=1, heads=2, kv_heads=2, mlp=24, context=S + T, tie_embeddings=True)
PROMPTS = np.random.default_rng(0).integers(2, VOCABULARY, (P, S)).astype(np.int32)
INDICES = jnp.arange(P)


def parameters():
    fresh = jax.jit(models.init, static_argnums=1)(jax.random.key(1), CONFIG)
    return jax.tree.map(lambda x: 6.0 * x if x.ndim > 1 else x, fresh)  # spread logits


def score(tokens, mask):
    """A number of the tokens that the policy chose: their sum, and 10 more if one of them is 3."""
    return jnp.sum(jnp.where(mask, tokens, 0), axis=1) + 10.0 * jnp.any(mask & (tokens == 3), axis=1)


class Services(dict):
    """The services by name; `held`, `drawn` and `forks` keep what the sampler gave and was asked."""

    def __init__(self, params, response_tokens=T, end_tokens=END, **others):
        self.params, self.held, self.drawn, self.forks = params, [], [], []
        settings = dict(end_tokens=end_tokens)

        def keep(function, *given, hold=False, **keywords):
            samples, held = function(*given, **settings, **keywords, hold=True)
            self.held.append(held)
            self.drawn.append(samples)
            return (samples, held) if hold else samples

        def fork(held, keys, parents, cuts, **given):
            self.forks.append((np.asarray(parents), np.asarray(cuts)))
            return keep(partial(extend, params, CONFIG), held, keys, parents, cuts, **given)

        first = partial(sample, params, CONFIG, response_tokens=response_tokens, entropy=True)
        super().__init__(
            render=lambda indices: Prompts(jnp.asarray(PROMPTS)[indices], jnp.ones((len(indices), S), bool)),
            sample=lambda keys, prompts, **given: keep(first, keys, prompts.tokens, prompts.mask, **given),
            extend=fork,
            verify=lambda indices, samples: {"score": score(samples.tokens, samples.mask)},
            reward=lambda rollout: rollout.components["score"],
            encode=lambda text: [int(x) for x in text],
            **others,
        )

    def __call__(self, arrange, *names, **hypers):
        """Run an arrangement with the services that it names."""
        return jax.tree.map(np.asarray, arrange(jax.random.key(5), INDICES, **{name: self[name] for name in names}, **hypers))

    def prefilled(self):
        """Prompt tokens that went through the model, in all calls."""
        return sum(int(held.prefilled) for held in self.held)

    def decoded(self):
        return [int(held.decoded) for held in self.held]


def learner_logprobs(params, rollout):
    """Log-probabilities of a rollout's tokens by the learner's forward pass, 0 where the policy did not choose."""
    outputs = models.token_outputs(
        params, CONFIG, rollout.prompt_tokens, rollout.prompt_mask, rollout.tokens, jnp.asarray(rollout.temperature), ("logprobs",)
    )
    return np.where(rollout.mask, outputs["logprobs"], 0.0)


class Walk:
    """An environment: five places in a ring, the third of them pays and ends the episode. The observation is one token or two."""

    @staticmethod
    def reset(indices):
        return {"place": jnp.asarray(indices, jnp.int32) % 2, "steps": jnp.zeros((len(indices), 1), jnp.int32)}

    @staticmethod
    def step(state, tokens, mask):
        moved = (state["place"] + jnp.sum(jnp.where(mask, tokens, 0), axis=1) % 3) % 5
        observation = jnp.stack([2 + moved, jnp.where(moved % 2 == 0, 2, -1)], axis=1)
        return {"place": moved, "steps": state["steps"] + 1}, observation, jnp.where(moved == 3, 1.0, -0.125), moved == 3

    @staticmethod
    def anchor(state):
        return state["place"]


def walked(tokens, place, turns, action_tokens, width):
    """What the walk makes of a row's tokens, in loops: turn, mask, observations, rewards, anchors, done, length."""
    turn, observed, rewards, anchors, done, t = [-1] * width, [], [], [], False, 0
    for k in range(turns):
        if t >= width:
            break
        action = []
        while t < width and len(action) < action_tokens:
            action.append(int(tokens[t]))
            turn[t] = k
            t += 1
            if action[-1] in END:
                break
        anchors.append(place)
        place = (place + sum(action) % 3) % 5
        rewards.append(1.0 if place == 3 else -0.125)
        if place == 3:
            done = True
            break
        if k < turns - 1:
            for token in [2 + place] + ([2] if place % 2 == 0 else []):
                if t < width:
                    observed.append((t, token))
                    t += 1
    return turn, observed, rewards, anchors, done, t
