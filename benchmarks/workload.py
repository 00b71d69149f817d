"""The workload that every arm of `benchmarks/step.py` runs: one policy-optimisation step of a small Qwen2 policy, float32.

8 prompts of 32 tokens, 8 responses of 64 tokens each, KL to a frozen reference, one AdamW update per rollout. There is no end token,
so every response has its full length and every arm does the same work. Plain Python: arms in other environments import it too.
"""

import json
import random
import time

VOCAB, HIDDEN, LAYERS, HEADS, KV_HEADS, MLP = 512, 256, 4, 4, 2, 704
HEAD = HIDDEN // HEADS
ROPE_THETA, NORM_EPSILON, INIT_STD = 10_000.0, 1e-6, 0.02
PROMPTS, SAMPLES, PROMPT_TOKENS, RESPONSE_TOKENS = 8, 8, 32, 64
ROWS, LENGTH = PROMPTS * SAMPLES, PROMPT_TOKENS + RESPONSE_TOKENS
LEARNING_RATE, ADAM_B1, ADAM_B2, ADAM_EPSILON, WEIGHT_DECAY, CLIP_NORM = 1e-4, 0.9, 0.999, 1e-8, 0.0, 1.0
KL_COEFFICIENT, CLIP_EPSILON, TEMPERATURE = 0.04, 0.2, 1.0


def prompts(step: int) -> list[list[int]]:
    """Random token ids of one step's prompts, [PROMPTS][PROMPT_TOKENS]."""
    draw = random.Random(step)
    return [[draw.randrange(VOCAB) for _ in range(PROMPT_TOKENS)] for _ in range(PROMPTS)]


def flops() -> dict[str, float]:
    """Floating-point operations of the matrix products of one step, by stage; attention is counted without its causal half left out.

    Prompts are prefilled once per prompt; the reference and the update run over the whole rows; a backward pass is two forward passes.
    """
    weights = LAYERS * (HIDDEN * HIDDEN * 2 + 2 * HIDDEN * KV_HEADS * HEAD + 3 * HIDDEN * MLP)
    head = VOCAB * HIDDEN

    def layers(tokens: int, context: int) -> float:
        return tokens * (2.0 * weights + LAYERS * 4.0 * context * HIDDEN)

    generate = layers(PROMPTS * PROMPT_TOKENS, PROMPT_TOKENS) + layers(ROWS * (RESPONSE_TOKENS - 1), LENGTH)
    generate += 2.0 * head * ROWS * RESPONSE_TOKENS
    forward = layers(ROWS * LENGTH, LENGTH) + 2.0 * head * ROWS * RESPONSE_TOKENS
    return {"generate": generate, "reference": forward, "update": 3.0 * forward}


class Stopwatch:
    """Seconds per stage of a step; `lap(stage)` books the time since the last lap, `line()` prints the step as JSON and starts the next."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.begin = self.last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now

    def line(self, **values: float) -> None:
        seconds = {stage: round(value, 6) for stage, value in self.seconds.items()}
        print(json.dumps({**seconds, "step": round(time.perf_counter() - self.begin, 6), **values}), flush=True)
        self.seconds = {}
        self.begin = self.last = time.perf_counter()
