"""The step of `workload.py` written by hand: plain JAX, this one method, this one architecture, nothing configurable but the pieces.

What a general library pays for its generality is measured against this program. It prints one line of JSON per step.

    python benchmarks/by_hand.py --steps=13 --pieces=8
"""

import argparse
from functools import partial

import jax
import jax.numpy as jnp
import optax
import workload as w

GROUPED = w.HEADS // w.KV_HEADS
SIZES = (w.HIDDEN, w.HIDDEN + w.KV_HEADS * w.HEAD)  # where query, key and value end in their common product
OPTIMIZER = optax.chain(
    optax.clip_by_global_norm(w.CLIP_NORM),
    optax.adamw(w.LEARNING_RATE, w.ADAM_B1, w.ADAM_B2, w.ADAM_EPSILON, weight_decay=w.WEIGHT_DECAY),
)


def init(key):
    """Normal weights of Qwen2 with tied embeddings; query, key and value are one matrix, and so are gate and up."""
    keys = iter(jax.random.split(key, 4 * w.LAYERS + 1))
    draw = lambda *shape: w.INIT_STD * jax.random.normal(next(keys), shape)  # noqa: E731
    width = w.HIDDEN + 2 * w.KV_HEADS * w.HEAD
    layer = lambda: {  # noqa: E731
        "norm1": jnp.ones(w.HIDDEN),
        "norm2": jnp.ones(w.HIDDEN),
        "qkv": draw(w.HIDDEN, width),
        "bias": jnp.zeros(width),
        "out": draw(w.HIDDEN, w.HIDDEN),
        "gate_up": draw(w.HIDDEN, 2 * w.MLP),
        "down": draw(w.MLP, w.HIDDEN),
    }
    return {"embed": draw(w.VOCAB, w.HIDDEN), "layers": [layer() for _ in range(w.LAYERS)], "norm": jnp.ones(w.HIDDEN)}


def rms_norm(x, weight):
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + w.NORM_EPSILON) * weight


def rotate(x, positions):
    """Rotary embedding of x [..., T, heads, HEAD] at positions [T]."""
    angles = positions[:, None] / w.ROPE_THETA ** (jnp.arange(0, w.HEAD, 2) / w.HEAD)
    cos, sin = jnp.cos(angles)[:, None], jnp.sin(angles)[:, None]
    a, b = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def project(layer, x, positions):
    """Query, key and value of x [B, T, HIDDEN]: [B, T, heads, HEAD] each, rotated."""
    query, key, value = jnp.split(rms_norm(x, layer["norm1"]) @ layer["qkv"] + layer["bias"], SIZES, axis=-1)
    heads = lambda y: y.reshape(*y.shape[:-1], -1, w.HEAD)  # noqa: E731
    return rotate(heads(query), positions), rotate(heads(key), positions), heads(value)


def attend(query, key, value, visible):
    """Grouped-query attention of query [B, T, HEADS, HEAD] over key and value [B, S, KV_HEADS, HEAD]; visible [T, S]."""
    rows, length = query.shape[:2]
    query = query.reshape(rows, length, w.KV_HEADS, GROUPED, w.HEAD) * w.HEAD**-0.5
    scores = jnp.einsum("btkgd,bskd->bkgts", query, key)
    weights = jax.nn.softmax(jnp.where(visible, scores, -1e30), axis=-1)
    return jnp.einsum("bkgts,bskd->btkgd", weights, value).reshape(rows, length, w.HIDDEN)


def finish(layer, x, attended):
    """The rest of a block after attention."""
    x = x + attended @ layer["out"]
    gate, up = jnp.split(rms_norm(x, layer["norm2"]) @ layer["gate_up"], 2, axis=-1)
    return x + (jax.nn.silu(gate) * up) @ layer["down"]


def forward(params, tokens):
    """Final hidden states [B, T, HIDDEN] and the keys and values of every layer."""
    length = tokens.shape[1]
    positions, visible = jnp.arange(length), jnp.tril(jnp.ones((length, length), bool))
    x, cache = params["embed"][tokens], []
    for layer in params["layers"]:
        query, key, value = project(layer, x, positions)
        x = finish(layer, x, attend(query, key, value, visible))
        cache.append((key, value))
    return rms_norm(x, params["norm"]), cache


def logprobs(params, prompts, responses):
    """Log-probabilities [B, T] of the responses."""
    tokens = jnp.concatenate([prompts, responses], axis=1)
    hidden, _ = forward(params, tokens[:, :-1])
    logits = hidden[:, w.PROMPT_TOKENS - 1 :] @ params["embed"].T
    chosen = jnp.take_along_axis(logits, responses[..., None], axis=-1)[..., 0]
    return chosen - jax.nn.logsumexp(logits, axis=-1)


@jax.jit
def generate(params, prompts, key):
    """SAMPLES responses to each prompt [PROMPTS, S], with their log-probabilities: both [ROWS, T]."""
    hidden, cache = forward(params, prompts)
    hidden = jnp.repeat(hidden[:, -1], w.SAMPLES, axis=0)

    def room(x, order):  # per row, and with zeros where the response will be
        x = x.transpose(order)
        return jnp.repeat(jnp.pad(x, [(0, w.RESPONSE_TOKENS if axis == 1 else 0) for axis in order]), w.SAMPLES, axis=0)

    # Keys lie as [B, KV_HEADS, HEAD, S], values as [B, KV_HEADS, S, HEAD]: the products of one query then run along memory.
    cache = [(room(key_, (0, 2, 3, 1)), room(value, (0, 2, 1, 3))) for key_, value in cache]

    def sample(hidden, t):
        logits = hidden @ params["embed"].T
        token = jax.random.categorical(jax.random.fold_in(key, t), logits)
        chosen = jnp.take_along_axis(logits, token[:, None], axis=-1)[:, 0]
        return token, chosen - jax.nn.logsumexp(logits, axis=-1)

    def decode(carry, t):
        token, cache = carry
        position = w.PROMPT_TOKENS + t - 1
        visible = jnp.arange(w.LENGTH) <= position
        x, written = params["embed"][token][:, None], []
        for layer, (keys, values) in zip(params["layers"], cache, strict=True):
            query, key_, value = project(layer, x, position[None])
            keys = jax.lax.dynamic_update_slice(keys, key_.transpose(0, 2, 3, 1), (0, 0, 0, position))
            values = jax.lax.dynamic_update_slice(values, value.transpose(0, 2, 1, 3), (0, 0, position, 0))
            query = query.reshape(w.ROWS, w.KV_HEADS, GROUPED, w.HEAD) * w.HEAD**-0.5
            weights = jax.nn.softmax(jnp.where(visible, jnp.einsum("bkgd,bkds->bkgs", query, keys), -1e30), axis=-1)
            x = finish(layer, x, jnp.einsum("bkgs,bksd->bkgd", weights, values).reshape(w.ROWS, 1, w.HIDDEN))
            written.append((keys, values))
        token, logprob = sample(rms_norm(x, params["norm"])[:, 0], t)
        return (token, written), (token, logprob)

    first, first_logprob = sample(hidden, 0)
    _, (tokens, chosen) = jax.lax.scan(decode, (first, cache), jnp.arange(1, w.RESPONSE_TOKENS))
    join = lambda first, rest: jnp.concatenate([first[None], rest]).T  # noqa: E731
    return join(first, tokens), join(first_logprob, chosen)


def cut(tree, pieces):
    """Rows of every array in equal pieces: [pieces, rows / pieces, ...]."""
    return jax.tree.map(lambda x: x.reshape(pieces, -1, *x.shape[1:]), tree)


@partial(jax.jit, static_argnames="pieces")
def reference_logprobs(params, prompts, responses, pieces):
    """`logprobs` piece by piece: what a small piece needs stays in the cache of the processor."""
    return jax.lax.map(lambda piece: logprobs(params, *piece), cut((prompts, responses), pieces)).reshape(responses.shape)


@jax.jit
def advantages_of(responses):
    """Share of even tokens as the reward, standardised among the samples of a prompt: [ROWS]."""
    rewards = jnp.mean(responses % 2 == 0, axis=1).reshape(w.PROMPTS, w.SAMPLES)
    centered = rewards - rewards.mean(axis=1, keepdims=True)
    return rewards.mean(), (centered / (rewards.std(axis=1, ddof=1, keepdims=True) + 1e-4)).reshape(-1)


def loss(params, piece):
    """GRPO: clipped surrogate and k3 to the reference; all responses have the same length, so a mean over tokens is the sequence mean."""
    new = logprobs(params, piece["prompts"], piece["responses"])
    advantages = piece["advantages"][:, None]
    ratio = jnp.exp(new - piece["old_logprobs"])
    surrogate = jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - w.CLIP_EPSILON, 1 + w.CLIP_EPSILON) * advantages)
    log_ratio = piece["ref_logprobs"] - new
    kl = jnp.exp(log_ratio) - log_ratio - 1.0
    return jnp.sum(w.KL_COEFFICIENT * kl - surrogate) / (w.ROWS * w.RESPONSE_TOKENS)


@partial(jax.jit, donate_argnums=(0, 1), static_argnames="pieces")
def update(params, state, batch, pieces):
    """One AdamW step; the gradient is added up over pieces of the batch."""
    if pieces == 1:
        gradient = jax.grad(loss)(params, batch)
    else:
        add = lambda total, piece: (jax.tree.map(jnp.add, total, jax.grad(loss)(params, piece)), None)  # noqa: E731
        gradient, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), cut(batch, pieces))
    change, state = OPTIMIZER.update(gradient, state, params)
    return optax.apply_updates(params, change), state


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=13)
    parser.add_argument("--pieces", type=int, default=1, help="pieces in which rows go through the reference and the update")
    args = parser.parse_args()
    key = jax.random.key(0)
    params = init(key)
    reference = jax.tree.map(jnp.copy, params)
    state = OPTIMIZER.init(params)
    watch = w.Stopwatch()
    for step in range(args.steps):
        prompts = jnp.asarray(w.prompts(step), jnp.int32)
        responses, old = jax.block_until_ready(generate(params, prompts, jax.random.fold_in(key, step)))
        watch.lap("generate")
        prompts = jnp.repeat(prompts, w.SAMPLES, axis=0)
        ref = jax.block_until_ready(reference_logprobs(reference, prompts, responses, args.pieces))
        watch.lap("reference")
        reward, advantages = advantages_of(responses)
        batch = dict(prompts=prompts, responses=responses, old_logprobs=old, ref_logprobs=ref, advantages=advantages)
        params, state = jax.block_until_ready(update(params, state, batch, args.pieces))
        watch.lap("update")
        watch.line(reward=round(float(reward), 4))


if __name__ == "__main__":
    main()
