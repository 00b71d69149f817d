"""Problems from a data set prepared by TensorFlow Datasets, read without TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

from pojax.tasks.records import records_tasks
from pojax.tasks.task import Task


def tfds(
    *,
    path: str,
    source_split: str = "train",
    held_out_split: str | None = None,
    prompt_key: str = "prompt",
    answer_key: str = "answer",
    solution_key: str = "solution",
    template: str | None = None,
    shots: int = 0,
    columns: Sequence[str] = (),
    verifier: Any = ("exact", {}),
    split_by: str = "prompt",
    tokenizer: str = "sentencepiece",
    vocabulary: int = 1024,
    chat: Mapping[str, Any] | None = None,
    seed: int = 0,
    validation: int | None = None,
    held_out: int | None = None,
) -> dict[str, Task]:
    """Problems from the folder of a prepared data set in the array_record format. Returns {"train", "validation", "held_out"}.

    path: the folder with dataset_info.json. source_split: in the notation of TFDS, as in "train[:10%]".
    held_out_split: one of its own for the held-out rows. The other options are those of `records.records_tasks`.
    Raises ValueError for a folder or split that cannot be read, naming the record for one that is malformed, and ImportError
    naming the extra if tensorflow_datasets is not installed.
    """
    return records_tasks(
        "tfds",
        _read(path, source_split),
        None if held_out_split is None else _read(path, held_out_split),
        prompt_key=prompt_key,
        answer_key=answer_key,
        solution_key=solution_key,
        template=template,
        shots=shots,
        columns=columns,
        verifier=verifier,
        split_by=split_by,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        chat=chat,
        seed=seed,
        validation=validation,
        held_out=held_out,
    )


def _read(path: str, split: str) -> list[tuple[str, dict[str, Any]]]:
    """The records of a split as Python values, each with the place where it stands."""
    try:
        import tensorflow_datasets
    except ImportError:
        raise ImportError('the task tfds needs the package tensorflow-datasets: pip install "pojax[data]"') from None
    try:
        source = tensorflow_datasets.builder_from_directory(path).as_data_source(split=split)
        records = source.__getitems__(range(len(source)))
    except Exception as error:  # what the library raises differs with what is wrong: bare errors of its readers among it
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"tfds: path {path!r}, split {split!r}: {reason}, allowed: a data set prepared as array_record, and its splits"
        ) from None
    if not records:
        raise ValueError(f"tfds: path {path!r}, split {split!r}: no rows, allowed: at least one")
    return [(f"{path}:{split}:{row}", {key: _plain(value) for key, value in record.items()}) for row, record in enumerate(records)]


def _plain(value: Any) -> Any:
    """Text for bytes, a Python number for a numpy one."""
    return value.decode() if isinstance(value, bytes) else value.item() if getattr(value, "shape", None) == () else value
