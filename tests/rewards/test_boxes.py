import numpy as np
import pytest
from arrays import assert_gradient

from pojax import rewards

BOX, TARGET, SIZE = np.array([[100.0, 100, 200, 200]]), np.array([[110.0, 90, 220, 190]]), np.array([[1000.0, 500]])


def reference(box, target, size, min_overlap=0.0):
    """(hit, iou, edges) of one box."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    hit = float(target[0] <= x <= target[2] and target[1] <= y <= target[3])
    w, h = min(box[2], target[2]) - max(box[0], target[0]), min(box[3], target[3]) - max(box[1], target[1])
    common = w * h if w > min_overlap and h > min_overlap else 0.0
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, target)]
    e = [1 - abs(box[i] - target[i]) / size[i % 2] for i in range(4)]
    return hit, common / (sum(areas) - common), 4 / sum(1 / x for x in e) if min(e) > 0 else 0.0


def test_card():
    np.testing.assert_allclose(rewards.box_reward(BOX, TARGET, SIZE), [1.27979], rtol=1e-5)
    np.testing.assert_array_equal(rewards.box_hit(BOX, TARGET), [1])
    np.testing.assert_allclose(rewards.box_iou(BOX, TARGET), [0.627907], rtol=1e-5)
    np.testing.assert_allclose(rewards.box_edges(BOX, TARGET, SIZE), [0.982481], rtol=1e-5)


@pytest.mark.parametrize("min_overlap", [0.0, 1.0])
def test_double_precision(x64, min_overlap):
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 40, (50, 2, 2)).astype(float)
    boxes = [np.concatenate([c, c + rng.integers(1, 30, (50, 2))], axis=1) for c in (corners[:, 0], corners[:, 1])]
    size = np.tile([60.0, 50.0], (50, 1))
    expected = np.array([reference(a, b, s, min_overlap) for a, b, s in zip(*boxes, size, strict=True)])
    np.testing.assert_array_equal(rewards.box_hit(*boxes), expected[:, 0])
    np.testing.assert_allclose(rewards.box_iou(*boxes, min_overlap=min_overlap), expected[:, 1], rtol=1e-9)
    np.testing.assert_allclose(rewards.box_edges(*boxes, size), expected[:, 2], rtol=1e-9)
    total = rewards.box_reward(*boxes, size, iou_weight=0.5, edge_weight=0.2, min_overlap=min_overlap)
    np.testing.assert_allclose(total, expected @ [1, 0.5, 0.2], rtol=1e-9)


def test_gradient(x64):
    assert_gradient(lambda box: rewards.box_reward(box, TARGET, SIZE), BOX)


def test_an_overlap_of_one_pixel():
    box, target = np.array([[0.0, 0, 10, 10]]), np.array([[9.0, 0, 20, 10]])
    np.testing.assert_allclose(rewards.box_iou(box, target), [10 / 200], rtol=1e-6)
    assert rewards.box_iou(box, target, min_overlap=1.0) == 0


@pytest.mark.parametrize("box", [[np.nan, 0, 1, 1], [5, 5, 5, 9], [9, 9, 1, 1], [-np.inf, 0, np.inf, 9]])
def test_malformed_boxes_earn_nothing(box):
    assert rewards.box_reward(np.array([box]), np.array([[0.0, 0, 9, 9]]), np.array([[10.0, 10]])) == 0


def test_an_edge_that_is_off_by_the_whole_image():
    far = np.array([[0.0, 0, 1, 1]]), np.array([[10.0, 0, 11, 1]])
    assert rewards.box_edges(*far, np.array([[10.0, 10]])) == 0
    assert rewards.box_edges(*far, np.array([[0.0, 10]])) == 0
