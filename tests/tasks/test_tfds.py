import sys

import numpy as np
import pytest

from pojax import tasks

tensorflow_datasets = pytest.importorskip("tensorflow_datasets", reason="the extra data is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    class Sums(tensorflow_datasets.core.GeneratorBasedBuilder):
        """Additions as text."""

        __module__ = "sums"  # as in a script of one's own: of a class in a package the library looks for the source file
        VERSION = tensorflow_datasets.core.Version("1.0.0")

        def _info(self):
            features = tensorflow_datasets.features
            kinds = {"question": features.Text(), "answer": np.int32, "level": np.float32}
            return tensorflow_datasets.core.DatasetInfo(builder=self, disable_shuffling=True, features=features.FeaturesDict(kinds))

        def _split_generators(self, manager):
            return {"train": self._generate_examples(0, 30), "test": self._generate_examples(30, 34)}

        def _generate_examples(self, first, last):
            for i in range(first, last):
                yield i, {"question": f"{i} + {i} =", "answer": 2 * i, "level": i / 4}

    builder = Sums(data_dir=tmp_path_factory.mktemp("tfds"), file_format="array_record")
    builder.download_and_prepare()
    return str(builder.data_path)


def test_splits_of_a_prepared_data_set(folder):
    options = {"prompt_key": "question", "columns": ("level",), "tokenizer": "characters"}
    splits = tasks.tfds(path=folder, **options)
    assert {split: task.size for split, task in splits.items()} == {"train": 24, "validation": 3, "held_out": 3}
    for task in splits.values():
        numbers = [int(task.prompt(i).split()[0]) for i in range(task.size)]
        assert [task.solution(i) for i in range(task.size)] == [str(2 * number) for number in numbers]
        np.testing.assert_array_equal(task.columns["level"], np.array(numbers) / 4)
    official = tasks.tfds(path=folder, source_split="train[:50%]", held_out_split="test", **options)
    assert [official["held_out"].prompt(i) for i in range(4)] == [f"{i} + {i} =" for i in range(30, 34)]
    assert official["train"].size + official["validation"].size == 15
    assert "tensorflow" not in sys.modules


def test_bad_input(folder, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="tfds: path '.*', split 'train'"):
        tasks.tfds(path=str(tmp_path))
    with pytest.raises(ValueError, match="split 'middle': .*allowed"):
        tasks.tfds(path=folder, source_split="middle", prompt_key="question")
    with pytest.raises(ValueError, match="train:0: 'prompt' is missing"):
        tasks.tfds(path=folder)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r'pip install "pojax\[data\]"'):
        tasks.tfds(path=folder)
