"""What a tracker is: a rule for a table that persists between iterations."""

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Tracker"]


class Tracker(NamedTuple):
    """`init(sizes..., *, hyper) -> table` and `update(table, data..., *, hyper) -> table`; data are found by name.

    Any function may read the table by its name, with its value at the start of the iteration; only `update` writes it, once, after the
    last update of the parameters. Beside fields, tables and outputs it may read `<update>_gram` [terms, terms]: the products of the
    gradients of an update's terms, each without the scales that are one number, as the mean over the update's optimiser steps.
    Shapes and dtypes never change. Where both take a hyper-parameter of one name, it is one value.
    """

    init: Callable[..., Any]
    update: Callable[..., Any]
