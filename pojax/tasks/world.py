"""A small world of text: fetch the key, then go to the door; one action a turn, and the world answers where one stands."""

from collections import deque
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Int, Shaped

from pojax.tasks.task import Environment, Task, hinted_prompt, response_text, split_ranges
from pojax.tasks.tokenizers import END, Characters
from pojax.types import Sample

ACTIONS = "\u2190\u2192\u2191\u2193"  # arrows: left, right, up, down
FIELDS = {"correct": (), "format": ()}


class State(NamedTuple):
    """n episodes; cells are numbered row by row."""

    cell: Array  # [n] int32, where one stands
    has_key: Array  # [n] bool
    over: Array  # [n] bool
    key: Array  # [n] int32
    door: Array  # [n] int32


def key_and_door(
    *, seed: int = 0, width: int = 4, height: int = 4, longest: int = 6, validation: int = 256, held_out: int = 512
) -> dict[str, Task]:
    """Walk a grid to the key and from there to the door. Returns {"train", "validation", "held_out"}.

    A problem is a start, a key and a door in three different cells, with a shortest way of at most `longest` moves; the problems stand in
    an order permuted by `seed`, and the splits are ranges of it. The prompt is the key's cell, the door's cell and the start; every turn
    is one arrow, and the world answers with the cell that one stands on then. Cells are letters, each kind with an alphabet of its own:
    circled small (the key), circled capital (the door), small (standing there without the key), capital (with it). At the rim one stays;
    the key is taken by standing on it, the door opens only with it, and then the episode is over. Any other token does nothing, the end
    token gives up. `Task.environment` is the world in JAX: reward 1 when the door opens; anchor states are cell and key.
    The worked solution walks the shortest way, sideways first; `Task.observed` marks what the world writes in it.

    Column difficulty: moves of the shortest way. Components: correct, 1 where the policy's tokens open the door; format, 1 where they are
    arrows and nothing else (at least one). For the first, what comes after the door opened is not read.
    Raises ValueError for grids of fewer than 3 or more than 26 cells, longest below 2, and splits larger than the space.
    """
    cells = width * height
    if min(width, height) < 1 or not 3 <= cells <= 26 or longest < 2:
        raise ValueError(
            f"key_and_door: width {width}, height {height} and longest {longest}, allowed: 3 to 26 cells, longest of 2 or more"
        )
    moves = _moves(width, height)
    distance = np.array([_distances(moves, cell) for cell in range(cells)])
    problems = np.array([(s, k, d) for s in range(cells) for k in range(cells) for d in range(cells) if len({s, k, d}) == 3])
    difficulty = distance[problems[:, 0], problems[:, 1]] + distance[problems[:, 1], problems[:, 2]]
    problems = problems[difficulty <= longest]
    order = np.random.default_rng(seed).permutation(len(problems))
    parts = split_ranges(order, validation=validation, held_out=held_out, name="key_and_door")
    return {split: _task(split, problems[rows], moves, distance) for split, rows in parts.items()}


def _moves(width: int, height: int) -> np.ndarray:
    """[cells, 4]: where each action leads."""
    column, row = np.arange(width * height) % width, np.arange(width * height) // width
    steps = [(-1, 0), (1, 0), (0, -1), (0, 1)]
    return np.stack([np.clip(row + y, 0, height - 1) * width + np.clip(column + x, 0, width - 1) for x, y in steps], axis=1)


def _distances(moves: np.ndarray, start: int) -> np.ndarray:
    """Moves of the shortest way from a cell to every cell."""
    found, queue = np.full(len(moves), -1), deque([start])
    found[start] = 0
    while queue:
        cell = queue.popleft()
        for reached in moves[cell]:
            if found[reached] < 0:
                found[reached] = found[cell] + 1
                queue.append(reached)
    return found


def _letters(first: str, count: int) -> str:
    return "".join(chr(ord(first) + i) for i in range(count))


def _task(split: str, problems: np.ndarray, moves: np.ndarray, distance: np.ndarray) -> Task:
    cells = len(moves)
    bare, with_key = _letters("a", cells), _letters("A", cells)
    keys, doors = _letters("\u24d0", cells), _letters("\u24b6", cells)
    tokenizer = Characters(ACTIONS + bare + with_key + keys + doors)
    first_action, first_cell = tokenizer.ids[ACTIONS[0]], tokenizer.ids["a"]
    # What an action does as one table: the way of a token that is no action is to stay.
    table = np.tile(np.arange(cells)[:, None], (1, tokenizer.vocab_size))
    table[:, first_action : first_action + 4] = moves
    difficulty = distance[problems[:, 0], problems[:, 1]] + distance[problems[:, 1], problems[:, 2]]

    def way(i: int) -> list[tuple[int, int, bool]]:
        """(action, cell reached, with the key) of the shortest way of row i."""
        cell, key, door = problems[i].tolist()
        path, has_key = [], False
        while not (has_key and cell == door):
            target = door if has_key else key
            action = next(a for a in range(4) if distance[moves[cell, a], target] < distance[cell, target])
            cell = int(moves[cell, action])
            has_key = has_key or cell == key
            path.append((action, cell, has_key))
        return path

    def steps(i: int) -> list[str]:
        parts = [part for action, cell, key in way(i) for part in (ACTIONS[action], (with_key if key else bare)[cell])]
        return parts[:-1]  # the world does not answer once the door is open

    def question(i: int) -> str:
        start, key, door = problems[i].tolist()
        return keys[key] + doors[door] + bare[start]

    def reset(indices: Int[ArrayLike, "n"]) -> State:
        start, key, door = (jnp.asarray(column, jnp.int32)[jnp.asarray(indices)] for column in problems.T)
        return State(start, jnp.zeros(start.shape, bool), jnp.zeros(start.shape, bool), key, door)

    def act(state: State, token: Int[Array, "n"], on: Bool[Array, "n"]) -> State:
        on = on & ~state.over
        known = jnp.clip(token, 0, tokenizer.vocab_size - 1)
        cell = jnp.where(on, jnp.asarray(table, jnp.int32)[state.cell, jnp.where(known == token, token, 0)], state.cell)
        has_key = state.has_key | (on & (cell == state.key))
        return state._replace(cell=cell, has_key=has_key, over=state.over | (on & ((has_key & (cell == state.door)) | (token == END))))

    def opened(state: State) -> Bool[Array, "n"]:
        return state.has_key & (state.cell == state.door)

    def step(state: State, tokens: Int[ArrayLike, "n A"], mask: Shaped[ArrayLike, "n A"]) -> tuple[State, Array, Array, Array]:
        tokens, on, before = jnp.asarray(tokens), jnp.asarray(mask).astype(bool), opened(state)
        for column in range(tokens.shape[1]):
            state = act(state, tokens[:, column], on[:, column])
        seen = first_cell + state.cell + cells * state.has_key
        observation = jnp.where(state.over, -1, seen).astype(jnp.int32)[:, None]
        return state, observation, (opened(state) & ~before).astype(jnp.result_type(float)), state.over

    def anchor(state: State) -> Int[Array, "n"]:
        return (state.cell + cells * state.has_key).astype(jnp.int32)

    def verify(i: int, sample: Sample) -> dict[str, float]:
        cell, key, door = problems[i].tolist()
        has_key, right = False, False
        for character in response_text(steps, i, sample):
            if character in ACTIONS:
                cell = int(moves[cell, ACTIONS.index(character)])
            has_key = has_key or cell == key
            right = right or (has_key and cell == door)
            if right:
                break
        return {"correct": float(right), "format": float(bool(sample.text) and set(sample.text) <= set(ACTIONS))}

    def hinted(indices: Int[ArrayLike, "n"], hint: Shaped[ArrayLike, "n"] | None) -> State:
        """The state after the first `hint` steps of the worked solutions."""
        state = reset(indices)
        if hint is None:
            return state
        longest = int(difficulty.max())
        done = [[s for s, *_ in way(i)] + [-1] * (longest - int(difficulty[i])) for i in range(len(problems))]
        actions = jnp.asarray(done)[jnp.asarray(indices)]
        taken = (jnp.asarray(hint).astype(jnp.int32) + 1) // 2  # steps are actions and what the world answers, in turn
        for column in range(longest):
            state = act(state, first_action + actions[:, column], (column < taken) & (actions[:, column] >= 0))
        return state._replace(over=opened(state))

    def verify_tokens(
        indices: Int[ArrayLike, "n"],
        tokens: Int[ArrayLike, "n T"],
        mask: Shaped[ArrayLike, "n T"],
        *,
        hint: Shaped[ArrayLike, "n"] | None = None,
    ) -> dict[str, Array]:
        tokens, on = jnp.asarray(tokens), jnp.asarray(mask).astype(bool)
        read = on & (jnp.cumsum(on & (tokens == END), axis=1) == 0) & (tokens != tokenizer.pad)
        state, _ = jax.lax.scan(lambda s, column: (act(s, *column), None), hinted(indices, hint), (tokens.T, read.T))
        arrows = (tokens >= first_action) & (tokens < first_action + 4)
        number = jnp.result_type(float)
        parsed = jnp.any(read, axis=1) & jnp.all(arrows | ~read, axis=1)
        return {"correct": opened(state).astype(number), "format": parsed.astype(number)}

    return Task(
        name="key_and_door",
        split=split,
        size=len(problems),
        tokenizer=tokenizer,
        prompt=hinted_prompt(question, steps),
        steps=steps,
        verify=verify,
        fields=FIELDS,
        columns={"difficulty": difficulty.astype(np.int32)},
        verify_tokens=verify_tokens,
        environment=Environment(reset, step, anchor),
        observed=lambda i: [k % 2 == 1 for k in range(len(steps(i)))],
    )
