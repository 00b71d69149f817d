"""From components to one reward per response."""

from functools import reduce
from operator import add

from jaxtyping import Array, ArrayLike, Float, Shaped

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.numerics import floating, per_row

__all__ = ["select_components", "weighted_sum"]


def select_components(
    function: str, components: dict[str, ArrayLike], weights: dict[str, Hyper]
) -> list[tuple[Float[Array, "B ..."], Array]]:
    """(component, weight) of every name in weights, in the order of the names so that sums do not depend on how a config is written."""
    if not weights:
        raise ValueError(f"{function}: weights is empty, allowed: at least one component of {sorted(components)}")
    missing = sorted(set(weights) - set(components))
    if missing:
        raise ValueError(f"{function}: weights names {missing}, allowed: {sorted(components)}")
    return [(floating(components[name]), per_row(weights[name], 1)) for name in sorted(weights)]


@checked()
def weighted_sum(components: dict[str, Shaped[ArrayLike, "B"]], *, weights: dict[str, Hyper]) -> Float[Array, "B"]:
    """Weighted sum of components: r_b = sum over the names in weights of weight * component_b.

    Rewards are in the units of weight * component; components that weights does not name have no influence.
    Raises ValueError where weights is empty or names a component that is not there.
    Source: the usual rule for verifiable rewards, such as accuracy and format of DeepSeek-R1, arXiv 2501.12948, section 2.2.2.
    """
    return reduce(add, (weight * component for component, weight in select_components("weighted_sum", components, weights)))
