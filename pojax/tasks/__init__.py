"""Tasks: prompts, worked solutions and verifiers. A constructor returns its three splits; `__all__` is the registry that configs name."""

from pojax.tasks.arithmetic import arithmetic
from pojax.tasks.chains import modular_chain
from pojax.tasks.code import code
from pojax.tasks.columns import with_columns
from pojax.tasks.competition import math
from pojax.tasks.countdown import countdown
from pojax.tasks.encode import Tally as Tally
from pojax.tasks.encode import encode_prompts as encode_prompts
from pojax.tasks.encode import encode_solutions as encode_solutions
from pojax.tasks.encode import verify_rows as verify_rows
from pojax.tasks.gsm8k import gsm8k
from pojax.tasks.instructions import instructions
from pojax.tasks.json_lines import json_lines
from pojax.tasks.json_output import json_output
from pojax.tasks.sequences import reversal, sorting
from pojax.tasks.svamp import svamp
from pojax.tasks.task import Environment as Environment
from pojax.tasks.task import Task as Task
from pojax.tasks.tfds import tfds
from pojax.tasks.world import key_and_door

__all__ = [
    "arithmetic",
    "code",
    "countdown",
    "gsm8k",
    "instructions",
    "json_lines",
    "json_output",
    "key_and_door",
    "math",
    "modular_chain",
    "reversal",
    "sorting",
    "svamp",
    "tfds",
    "with_columns",
]
