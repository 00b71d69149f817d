"""Verifiers: functions (sample, answer, *, options...) -> {component: number}. `__all__` is the registry of the option `verifier`."""

from pojax.tasks.verifiers.code import unit_tests
from pojax.tasks.verifiers.constraints import constraints
from pojax.tasks.verifiers.language import language_consistency
from pojax.tasks.verifiers.math import equation, exact, expression, numeric
from pojax.tasks.verifiers.protocol import Verifier as Verifier
from pojax.tasks.verifiers.protocol import bind as bind
from pojax.tasks.verifiers.protocol import verifier as verifier
from pojax.tasks.verifiers.schema import json_schema

__all__ = ["constraints", "equation", "exact", "expression", "json_schema", "language_consistency", "numeric", "unit_tests"]
