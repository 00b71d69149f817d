import jax
import jax.numpy as jnp
import jobs
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from pojax import models
from pojax.sharding import make_layout


def test_sizes_of_the_mesh():
    assert dict(make_layout(dict(data=-1, fsdp=2, tensor=2)).mesh.shape) == dict(data=2, fsdp=2, tensor=2)
    assert dict(make_layout(dict(data=8)).mesh.shape) == dict(data=8, fsdp=1, tensor=1)
    assert make_layout(dict(data=2, fsdp=2, tensor=2)).row_shards() == 4


@pytest.mark.parametrize(
    "sizes, message",
    [
        (dict(data=3), "data=3 x fsdp=1 x tensor=1 is not the 8 devices; allowed: sizes whose product is 8"),
        (dict(data=-1, fsdp=3), "allowed: sizes whose product is 8"),
        (dict(data=-1, fsdp=-1), "at most one of them -1"),
        (dict(data=0), "allowed: sizes of 1 or more"),
    ],
)
def test_bad_meshes(sizes, message):
    with pytest.raises(ValueError, match=message):
        make_layout(sizes)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(batch_prompts=6), "data x fsdp = 8 does not divide the 6 batch_prompts; allowed: 1, 2, 3, 6"),
        (dict(batch_prompts=9), "does not divide the 36 rows of a batch"),
        (dict(method__microbatches=8), "does not divide the 4 rows of a micro-batch; allowed: 1, 2, 4"),
        (dict(method__minibatches=4, method__microbatches=2), "does not divide the 4 rows of a micro-batch"),
        (dict(mesh__data=2, mesh__tensor=4), "mesh.tensor: 4 does not divide model.heads = 2; allowed: 1, 2"),
    ],
)
def test_what_does_not_divide_the_mesh(changes, message):
    with pytest.raises(ValueError, match=message):
        jobs.job(jobs.tiny(**changes), devices=8)


def test_rows_are_split_over_data_and_fsdp():
    layout = make_layout(dict(data=2, fsdp=2, tensor=2))
    tree = jax.jit(layout.rows)({"a": jnp.zeros((8, 3)), "b": jnp.zeros(8), "odd": jnp.zeros(6), "scalar": jnp.zeros(())})
    assert tree["a"].sharding.spec[0] == ("data", "fsdp") and tree["b"].sharding.spec[0] == ("data", "fsdp")
    assert tree["a"].addressable_shards[0].data.shape == (2, 3)
    assert tree["odd"].addressable_shards[0].data.shape == (6,)


def test_parameters_are_split_by_the_rule_table():
    layout = make_layout(dict(data=2, fsdp=2, tensor=2))
    assert layout.spec(("embed", None, "mlp"), (16, 2, 32)) == P(("fsdp",), None, ("tensor",))
    assert layout.spec(("vocab", None), (22, 16))[0] == "fsdp"  # 22 is no multiple of 4
    assert layout.spec(("vocab", None), (24, 16))[0] == ("fsdp", "tensor")
    assert layout.spec(("layers", "unheard of"), (2, 4)) == P(None, None)


def test_optimiser_states_lie_where_their_parameters_do():
    made = jobs.job(jobs.tiny(mesh=dict(data=2, fsdp=2, tensor=2), optimizer=("adamw", dict(learning_rate=0.1)), model__mlp=64), devices=8)
    shapes = jax.eval_shape(made.init)
    axes = made.layout.params(models.logical_axes(made.model["policy"]), shapes.params["policy"])
    found = made.layout.like_params(shapes.opt, shapes.params, {"policy": axes})
    kernel = axes["blocks"]["layer_0"]["gate_up"]["kernel"]
    assert not kernel.is_fully_replicated
    moments = [s for path, s in jax.tree_util.tree_leaves_with_path(found) if "gate_up" in jax.tree_util.keystr(path)]
    assert len(moments) == 2 and all(s == kernel for s in moments)
    assert np.all(
        [s.is_fully_replicated for path, s in jax.tree_util.tree_leaves_with_path(found) if "count" in jax.tree_util.keystr(path)]
    )
