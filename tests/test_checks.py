import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax import advantages, losses, rewards
from pojax.checks import check_range, check_shapes, checked, in_range
from pojax.losses import aggregations

X = np.zeros((2, 3), np.float32)


def test_check_shapes_returns_sizes_and_names_the_culprit():
    assert check_shapes("f", a=(X, "B T"), b=(np.zeros(2), ("B T", "B")), c=(1.0, "")) == {"B": 2, "T": 3}
    assert check_shapes("f", table=(np.zeros((5, 2, 9)), "N ...")) == {"N": 5}
    with pytest.raises(ValueError, match=r"^f: b has shape \[3\], allowed: \[B\] with B = 2$"):
        check_shapes("f", a=(X, "B T"), b=(np.zeros(3), "B"))
    with pytest.raises(ValueError, match=r"key has shape \[3\], allowed: \[\] or \[2\]"):
        check_shapes("f", key=(np.zeros(3), ("", "2")))
    with pytest.raises(ValueError, match=r"a has shape \[2, 3\], allowed: \[N, N\]"):
        check_shapes("f", a=(X, "N N"))


@pytest.mark.parametrize(
    ("value", "allowed", "expected"),
    [(0, "[0, 1)", True), (1, "[0, 1)", False), (0.0, "(0, inf]", False), (np.inf, "(0, inf]", True), (np.inf, "(0, inf)", False)]
    + [(np.nan, "[-inf, inf]", False), (np.array([0.5, 2.0]), "[0, 1]", False), ("token", "{token, sequence}", True)]
    + [(True, "{0, 1}", False), (1, "{0, 1}", True), (np.zeros(0), "(0, 1)", True)],
)
def test_in_range(value, allowed, expected):
    assert in_range(value, allowed) is expected


def test_check_range_names_the_first_value_that_is_out():
    with pytest.raises(ValueError, match=r"^f: epsilon is -2, allowed: \[0, 1\]$"):
        check_range("f", "epsilon", np.array([0.5, -2.0, 3.0]), "[0, 1]")
    with pytest.raises(ValueError, match=r"^f: level is 'row', allowed: \{token, sequence\}$"):
        check_range("f", "level", "row", "{token, sequence}")
    check_range("f", "epsilon", None, "[0, 1]")


def test_tracers_pass_the_range_but_not_the_shape():
    value = jax.jit(lambda e: losses.ppo_clip(X, X, X, epsilon=e))(-1.0)
    assert value.shape == (2, 3)
    with pytest.raises(ValueError, match=r"ppo_clip: old_logprobs has shape \[2, 2\], allowed: \[B, T\] with B = 2, T = 3"):
        jax.jit(lambda x: losses.ppo_clip(x, x[:, :2], x))(X)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.ppo_clip(X, X, X, epsilon=-0.1), r"ppo_clip: epsilon is -0.1, allowed: \[0, inf\]"),
        (lambda: losses.ppo_clip(X, X, X, dual_clip=1.0), r"ppo_clip: dual_clip is 1, allowed: \(1, inf\]"),
        (lambda: losses.ppo_clip(X, X, X[:, 0]), r"ppo_clip: advantages has shape \[2\], allowed: \[B, T\]"),
        (
            lambda: losses.ppo_clip(X, X, X, epsilon=np.ones(3)),
            r"epsilon has shape \[3\], allowed: a number or \[2\] or \[2, 1\] or \[2, 3\]",
        ),
        (lambda: aggregations.constant(X, length=0), r"constant: length is 0"),
        (lambda: aggregations.token_mean(X[None]), r"token_mean: where has shape \[1, 2, 3\], allowed: \[B, T\] or \[B\]"),
        (lambda: advantages.group_normalize(np.ones(2), np.ones(2, int), ddof=2), r"group_normalize: ddof is 2, allowed: \{0, 1\}"),
        (lambda: advantages.group_center(np.ones(2), np.array([0, -3])), r"groups: an id is -3"),
        (lambda: rewards.weighted_sum({"a": np.ones(2), "b": np.ones(3)}, weights={"a": 1.0}), r"components\['b'\] has shape \[3\]"),
        (lambda: rewards.weighted_sum({"a": np.ones(2)}, weights={"a": np.ones(3)}), r"weights\['a'\] has shape \[3\]"),
    ],
)
def test_public_functions_refuse_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_checked_keeps_signature_ranges_and_marks():
    def rule(x, *, gamma: float = 0.5):
        """Doc."""
        return x * gamma

    wrapped = checked(gamma="[0, 1]")(rule)
    assert wrapped.ranges == {"gamma": "[0, 1]"} and wrapped.__doc__ == "Doc." and wrapped.__wrapped__ is rule
    assert advantages.drop_truncated.writes == ("keep",)
    np.testing.assert_array_equal(jax.vmap(lambda g: wrapped(jnp.ones(2), gamma=g))(jnp.array([0.1, 0.2]))[1], np.float32([0.2, 0.2]))
