"""Junk where it must not matter, degenerate inputs and traced hyper-parameters of every function: see sweep.py."""

import pytest
import sweep

NAMES = sweep.names("rewards", "trackers", "groups")


@pytest.mark.parametrize("name", NAMES)
def test_junk_where_it_must_not_matter(name):
    sweep.check_junk(name)


@pytest.mark.parametrize("name", NAMES)
def test_degenerate_inputs_give_finite_values_and_gradients(name):
    sweep.check_degenerate(name)


@pytest.mark.parametrize("name", [name for name in NAMES if sweep.hyper_defaults(name)])
def test_hyper_parameters_are_traced_and_broadcast(name):
    sweep.check_hypers(name)
