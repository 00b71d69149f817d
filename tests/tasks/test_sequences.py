import pytest

from pojax import tasks


def test_answers():
    task = tasks.sorting()["train"]
    assert all(task.solution(i) == "".join(sorted(task.prompt(i)[:-1])) for i in range(task.size))
    assert sum(task.solution(i) == task.prompt(i)[:-1] for i in range(task.size)) / task.size < 0.05  # few are asked in order
    task = tasks.reversal(shortest=2, longest=5, limit=3000)["train"]
    assert all(task.solution(i) == task.prompt(i)[-2::-1] for i in range(task.size))
    assert set(task.columns["difficulty"].tolist()) == {2, 3, 4, 5} and task.size == 3000 - 768
    ascending = [task.prompt(i)[:-1] < task.solution(i) for i in range(task.size) if task.prompt(i)[:-1] != task.solution(i)]
    assert 0.45 < sum(ascending) / len(ascending) < 0.55  # a bit chooses which of the two is asked


@pytest.mark.parametrize("make, most", [(tasks.sorting, 8), (tasks.reversal, 6)])
def test_bad_options(make, most):
    for lengths in ({"shortest": 0}, {"shortest": 5, "longest": 4}, {"longest": most + 1}):
        with pytest.raises(ValueError, match=f"allowed: 1 <= shortest <= longest <= {most}"):
            make(**lengths)
