import dataclasses
import json
import shutil
import sys
from pathlib import Path

import jax
import jobs
import numpy as np
import pytest
import tokenizer_folders as folders

from pojax.learners.services import end_tokens
from pojax.tasks import encode_prompts, encode_solutions, hf_tokenizer, verify_rows
from pojax.tasks.tokenizers import Tokenizer, load

pytest.importorskip("tokenizers", reason="the extra hf is not installed")
pytest.importorskip("sentencepiece", reason="the extra hf is not installed")

TEXTS = [
    "Dan had 3745 apples.",
    " two  spaces\n\n\tand\r\nlines ",
    "Привет, мир — ёж",
    "日本語とりんご、中文",
    "مرحبا بالعالم नमस्ते",
    "é (one), e\u0301 (two) 👩‍👩‍👧 ½ ⅷ",
    "\u2581 </s",
    "",
]
FAMILIES = {
    "qwen": lambda folder: folders.byte_level(folder, eos_token="<|im_end|>", pad_token="<|endoftext|>"),
    "llama3": lambda folder: folders.byte_level(folder, folders.LLAMA3, bos="<|begin_of_text|>", eos_token="<|eot_id|>"),
    "llama2": lambda folder: folders.metaspace(folder, eos_token="</s>"),
    "llama2_legacy": lambda folder: folders.metaspace(folder, "legacy", eos_token="</s>"),
    "gemma": lambda folder: folders.metaspace(
        folder, "gemma", folders.GEMMA, bos="<bos>", eos_token="<eos>", pad_token="<pad>", add_bos_token=True
    ),
    "unigram": lambda folder: folders.metaspace(folder, unigram=True, eos_token="</s>"),
    "llama2_model": folders.pieces,
    "llama2_unigram_model": lambda folder: folders.pieces(folder, model_type="unigram"),
    "gemma_model": lambda folder: folders.pieces(folder, gemma=True),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """{family: folder}"""
    root = tmp_path_factory.mktemp("tokenizers")
    return {name: make(root / name) for name, make in FAMILIES.items()}


def copy(folder, to, **contents):
    shutil.copytree(folder, to)
    return folders.files(to, **contents)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "llama2_unigram_model"])  # its class there is BPE
def test_equal_to_transformers(made, family):
    transformers = pytest.importorskip("transformers", reason="the extra hf-test is not installed")
    theirs, ours = transformers.AutoTokenizer.from_pretrained(made[family]), load(made[family])
    assert isinstance(ours, Tokenizer)
    assert ours.vocab_size == len(theirs) - (family == "gemma_model")  # its class adds <mask>, which the folder has not
    assert ours.ends == (theirs.eos_token_id,) and ours.pad == (theirs.eos_token_id if theirs.pad_token is None else theirs.pad_token_id)
    # A SentencePiece model puts its space also in front of a text that begins with one; what transformers makes of Llama's does not.
    texts = [text for text in TEXTS if family != "llama2_model" or text[:1] not in (" ", "\u2581")]
    for text in texts:
        ids = ours.encode(text)
        assert [*ours.begin, *ids] == theirs(text)["input_ids"], text
        assert ours.decode([*ours.begin, *ids, ours.end, ours.pad]) == theirs.decode(ids, skip_special_tokens=True), text


@pytest.mark.parametrize("family", [name for name in FAMILIES if name.endswith("model")])
def test_equal_to_sentencepiece(made, family):
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor()
    model.Load(f"{made[family]}/tokenizer.model")
    tokenizer = load(made[family])
    for text in TEXTS:
        ids = model.EncodeAsIds(text)
        assert tokenizer.encode(text) == ids and tokenizer.decode(ids) == model.DecodeIds(ids) == text.replace("\u2581", " ")


@pytest.mark.parametrize("family", FAMILIES)
def test_data_never_become_control_tokens(made, family):
    tokenizer = load(made[family])
    texts = sorted(tokenizer.control_texts)
    assert len(texts) >= 2
    for text in [*texts, f"a {texts[0]}{texts[1]} b", "".join(texts) * 20, f"{texts[0][:2]}{texts[0]}{texts[0][2:]}"]:
        ids = tokenizer.encode(text)
        assert not tokenizer.control & set(ids), text
        assert tokenizer.decode(ids) == text
        as_control = tokenizer.marked([(text, False)])
        assert tokenizer.control & {token.id for token in as_control}  # the text of a template is read so
        assert tokenizer.control_spans(text)
    assert tokenizer.control_spans(TEXTS[0]) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_any_ids_decode(made, family):
    tokenizer = load(made[family])
    ids = tokenizer.encode("Dan had 3 apples")
    beyond = tokenizer.vocab_size  # models pad their vocabulary
    assert tokenizer.decode([tokenizer.pad, *ids, tokenizer.end]) == "Dan had 3 apples"
    assert tokenizer.decode(np.array([*ids, beyond, *ids[1:], 10**6, -1], np.int32)).count("\ufffd") == 3
    more = tokenizer.encode_more(" had 3")
    assert tokenizer.decode([*ids, beyond, *more]) == "Dan had 3 apples\ufffd had 3"  # a space stays behind an id that is none
    assert tokenizer.decode([*ids, *more]) == "Dan had 3 apples had 3"
    assert tokenizer.decode([]) == "" and tokenizer.encode("") == []
    for i in range(-1, tokenizer.vocab_size + 1):
        assert isinstance(tokenizer.decode([i, i]), str)


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_loaded(made, family, tmp_path):
    folder = copy(made[family], tmp_path / "a", generation_config={"eos_token_id": [5, 7], "pad_token_id": 9})
    (tmp_path / "a" / "chat_template.jinja").write_text("{{ messages }}")
    folders.files(tmp_path / "a" / "additional_chat_templates")
    (tmp_path / "a" / "additional_chat_templates" / "tool.jinja").write_text("tool")
    tokenizer = load(folder)
    assert (tokenizer.ends, tokenizer.end, tokenizer.pad) == ((5, 7), 5, 9)
    tokenizer.save(tmp_path / "b")
    names = sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(tmp_path / "b")) for path in (tmp_path / "b").rglob("*") if path.is_file())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    again = load(tmp_path / "b")
    assert again.fingerprint() == tokenizer.fingerprint() == load(made[family]).fingerprint()
    assert again.templates() == tokenizer.templates() == {"default": "{{ messages }}", "tool": "tool"}
    assert load(made["qwen"]).fingerprint() != load(made["llama2"]).fingerprint() != load(made["llama2_model"]).fingerprint()


def test_end_and_padding_come_from_the_first_place_that_says(made, tmp_path):
    bare = {"tokenizer_class": "PreTrainedTokenizerFast"}
    end, text = load(made["qwen"]).end, load(made["qwen"]).special["pad_token"]

    def ends(name, **contents):
        tokenizer = load(copy(made["qwen"], tmp_path / name, **contents))
        return tokenizer.ends, tokenizer.pad

    both = {"config": {"eos_token_id": 3, "pad_token_id": 4}, "tokenizer_config": bare}
    assert ends("model", **both) == ((3,), 4)
    assert ends("nested", config={"text_config": {"eos_token_id": [3, 6]}}, tokenizer_config=bare) == ((3, 6), 3)
    named = {"content": "<|im_end|>", "lstrip": False}
    assert ends("map", **both, special_tokens_map={"eos_token": named}) == ((end,), 4)
    assert ends("config", config=both["config"]) == ((end,), load(made["qwen"]).pad)
    generation = {"eos_token_id": [8, 3, 8], "pad_token_id": -1}
    assert ends("generation", **both, generation_config=generation) == ((8, 3), 4)  # each once; -1 is no padding
    assert text == "<|endoftext|>"
    tokenizer = load(copy(made["qwen"], tmp_path / "unsaid", **both))
    tokenizer.save(tmp_path / "kept")  # no config.json is written
    assert load(tmp_path / "kept").ends == (3,) and load(tmp_path / "kept").pad == 4


@pytest.mark.parametrize(
    "family, config, expected",
    [
        ("llama3", {}, True),
        ("llama3", {"add_bos_token": False}, False),
        ("qwen", {"bos_token": "<|endoftext|>"}, False),
        ("qwen", {"bos_token": "<|endoftext|>", "add_bos_token": True}, True),
        ("llama2_model", {}, True),
        ("llama2_model", {"add_bos_token": False}, False),
    ],
)
def test_what_begins_a_prompt(made, tmp_path, family, config, expected):
    known = json.loads((Path(made[family]) / "tokenizer_config.json").read_text())
    tokenizer = load(copy(made[family], tmp_path / "x", tokenizer_config=known | config))
    bos = (known | config)["bos_token"]
    assert [tokenizer._texts[i] for i in tokenizer.begin] == [bos] * expected
    task = folders.letters()["train"]
    tokens, mask, _ = encode_prompts(dataclasses.replace(task, tokenizer=tokenizer), 8)
    assert [*tokens[2][mask[2]]] == [*tokenizer.begin, *tokenizer.encode("abc")]
    solutions, mask = encode_solutions(dataclasses.replace(task, tokenizer=tokenizer), 8)
    assert [*solutions[0][mask[0]]] == [*tokenizer.encode("b"), tokenizer.end]


def test_what_cannot_be_loaded(made, tmp_path):
    def refused(name, match, family="qwen", **contents):
        folder = copy(made[family], tmp_path / name, **contents)
        with pytest.raises(ValueError, match=match):
            load(folder)

    refused("a", r"a/generation_config\.json: eos_token_id 4000, allowed: ids of the", generation_config={"eos_token_id": 4000})
    refused("b", r"eos_token_id \[1, True\]", generation_config={"eos_token_id": [1, True]})
    refused("c", r"c: no end token", tokenizer_config={})
    refused("d", r"tokenizer_config\.json: found '\[\]'", tokenizer_config=[])
    refused("e", r"added tokens of", tokenizer_config={"added_tokens_decoder": {"x": {}}})
    refused("f", r"added token '<new>' gets id \d+, its folder says 7", added_tokens={"<new>": 7})
    refused("g", r"chat_template", tokenizer_config={"eos_token": "<|im_end|>", "chat_template": [{"name": "x"}]})
    with pytest.raises(ValueError, match=r"pojax_tokenizer\.json: No such file"):
        load(tmp_path)
    for name, content in (("tokenizer.json", b"{}"), ("tokenizer.json", b"\xff"), ("tokenizer.model", b"pieces"), ("tokenizer.model", b"")):
        folder = tmp_path / f"{name}{len(content)}"
        folder.mkdir()
        (folder / name).write_bytes(content)
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            load(folder)
    with pytest.raises(ValueError, match="lone surrogate"):
        load(made["qwen"]).encode("a\ud800")


def test_several_end_tokens(made, tmp_path):
    tokenizer = load(copy(made["qwen"], tmp_path / "x", generation_config={"eos_token_id": [419, 420]}))
    np.testing.assert_array_equal(end_tokens(tokenizer.ends), [419, 420, -1, -1, -1, -1, -1, -1])
    with pytest.raises(ValueError, match="9 end tokens .* at most 8"):
        end_tokens(range(9))
    seen = []

    def verify(i, sample):
        seen.append(sample.text)
        return {"correct": 1.0, "size": 1.0}

    task = dataclasses.replace(folders.letters()["train"], tokenizer=tokenizer, verify=verify)
    a, b = tokenizer.encode("a"), tokenizer.encode("b")
    tokens = np.array([[*a, 420, *b], [*a, 419, *b], [*a, *b, *b]])
    verify_rows(task, np.arange(3), tokens, np.ones((3, 3)), np.array([True, True, False]))
    assert seen == ["a", "a", "abb"]


@pytest.mark.slow
def test_padding_equal_to_the_end_token_is_harmless():
    """The same run with the end token as padding gives the same numbers: masks are the sampler's, no token is compared with padding."""

    def run(pad):
        method = jobs.GROUP | dict(rewards=[("weighted_sum", dict(weights=dict(correct=1.0, size=0.1)))])
        job = jobs.job(jobs.tiny(method=method, task=("tests.tokenizer_folders:letters", dict(pad=pad))))
        assert int((np.asarray(job.source.prompts.tokens) == pad).sum()) > 0  # there is padding in the prompts
        learner, state, seen = job.phases[-1].learner, job.init(), []
        for _ in range(2):
            batch, source = learner.collect(state, learner.hyper)
            state, metrics = learner.train_step(dataclasses.replace(state, source=source), batch, learner.hyper)
            fields = {name: value for name, value in batch.fields().items() if name != "prompt_tokens"}
            seen.append(jax.device_get((fields, metrics, state.params)))
        return seen

    first, second = run(0), run(1)
    jax.tree.map(np.testing.assert_array_equal, first, second)
    fields = first[0][0]
    assert len(set(fields["lengths"].tolist())) > 1 and fields["correct"].max() > 0
    np.testing.assert_array_equal(fields["mask"].sum(1), fields["size"])
    assert jobs.distance(first[0][2], first[1][2]) > 0  # the second step trained


def test_a_missing_package_names_the_extra(made, monkeypatch):
    for module, family in (("tokenizers", "qwen"), ("sentencepiece", "gemma_model")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ImportError, match=r'pip install "pojax\[hf\]"'):
            hf_tokenizer.read(made[family])
