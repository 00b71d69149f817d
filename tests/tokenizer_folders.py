"""Folders with small tokenizers of the shapes in which models are published, trained here; and a task whose padding is its end token."""

import io
import json
from pathlib import Path

import numpy as np

from pojax.tasks import Task
from pojax.tasks.tokenizers import Characters

TEXTS = [
    *(f"Dan had {i * 37 % 101} apples and gave {i} of them away. How many does he have? user assistant system" for i in range(40)),
    "Привет, мир! Сколько яблок осталось?",
    "日本語の文章。りんごは何個ありますか。",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "x = 3*y + 12; print(x)\n\n\tdone",
]
QWEN = r"'[sdmt]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"  # the shape of its pattern
CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
LLAMA3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
GEMMA = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
LLAMA2 = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]")


def files(folder, **contents) -> str:
    """Write JSON files (a name without its ending, __ for none) and texts into a folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (Path(folder) / f"{name}.json").write_text(json.dumps(content))
    return str(folder)


def byte_level(folder, specials=CHATML, *, bos=None, plain=(), **config) -> str:
    """Byte-level BPE as in Qwen; with bos, as in Llama 3, where the post-processor puts it in front."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE(ignore_merges=bos is not None))
    made.normalizer = normalizers.NFC() if bos is None else None
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(QWEN), behavior="isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    )
    made.add_special_tokens(list(specials))
    made.add_tokens(list(plain))
    if bos is not None:
        made.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, made.token_to_id(bos))])
    return _save(folder, made, bos_token=bos, **config)


def metaspace(folder, kind="llama2", specials=LLAMA2, *, unigram=False, bos="<s>", **config) -> str:
    """SentencePiece in a tokenizer.json: `llama2` puts a space in front of the text, `legacy` by its normaliser, `gemma` does not."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    byte_tokens = [f"<0x{i:02X}>" for i in range(256)]
    if unigram:
        pieces = [(s, 0.0) for s in specials] + [(b, -20.0) for b in byte_tokens]
        letters = sorted({c for text in TEXTS[:40] for c in text.replace(" ", "\u2581")})
        words = ["\u2581Dan", "\u2581had", "\u2581app", "les", "\u2581of", "\u2581them", "\u2581"]
        known = {text for text, _ in pieces}
        pieces += [(text, -5.0 + len(text) / 10) for text in dict.fromkeys([*words, *letters]) if text not in known]
        made = Tokenizer(models.Unigram(pieces, unk_id=specials.index("<unk>"), byte_fallback=True))
    else:
        made = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    if kind == "gemma":
        made.normalizer = normalizers.Replace(" ", "\u2581")
    elif kind == "legacy":
        made.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    made.decoder = decoders.Sequence([*steps, decoders.Strip(content=" ", left=1)] if kind != "gemma" else steps)
    if not unigram:
        lines = [text.replace(" ", "\u2581") for text in TEXTS]
        trained = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
        trained.pre_tokenizer = pre_tokenizers.Split("\u2581", behavior="merged_with_next")
        trained.train_from_iterator(
            lines, trainers.BpeTrainer(vocab_size=560, special_tokens=[*specials, *byte_tokens], show_progress=False)
        )
        state = json.loads(trained.to_str())["model"]
        made.model = models.BPE(
            vocab=state["vocab"], merges=[tuple(m) for m in state["merges"]], byte_fallback=True, fuse_unk=True, unk_token="<unk>"
        )
    made.add_special_tokens(list(specials))
    made.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, made.token_to_id(bos))])
    return _save(folder, made, bos_token=bos, unk_token="<unk>", **config)


def pieces(folder, *, gemma=False, model_type="bpe", **config) -> str:
    """A tokenizer.model of SentencePiece as in Llama 2, or with other ids, other roles and without the space in front as in Gemma."""
    import sentencepiece

    model = io.BytesIO()
    roles = dict(pad_id=0, eos_id=1, bos_id=2, unk_id=3) if gemma else dict(unk_id=0, bos_id=1, eos_id=2, pad_id=-1)
    named = dict(pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>", unk_piece="<unk>") if gemma else {}
    turns = ["<start_of_turn>", "<end_of_turn>"] if gemma else []
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(TEXTS), model_writer=model, vocab_size=480, hard_vocab_limit=False, model_type=model_type,
        byte_fallback=True,
        split_digits=True, normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=not gemma,
        user_defined_symbols=turns, minloglevel=2, num_threads=1, **roles, **named,
    )  # fmt: skip
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    names = dict(bos_token="<bos>", eos_token="<eos>", pad_token="<pad>") if gemma else dict(bos_token="<s>", eos_token="</s>")
    kind = "GemmaTokenizer" if gemma else "LlamaTokenizer"
    known = {"unk_token": "<unk>", "add_bos_token": True, "add_eos_token": False, "tokenizer_class": kind, **names, **config}
    return files(folder, tokenizer_config=known)


def _save(folder, made, **config) -> str:
    Path(folder).mkdir(parents=True, exist_ok=True)
    made.save(str(Path(folder) / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast"} | {key: value for key, value in config.items() if value is not None}
    return files(folder, tokenizer_config=config)


class Padded(Characters):
    """Characters with another padding id."""

    def __init__(self, alphabet: str, pad: int):
        super().__init__(alphabet)
        self.pad = pad


def letters(*, pad: int = 0) -> dict[str, Task]:
    """Prompts of different lengths, answered by a text with many b; verified on the host, which sees text alone."""
    prompts = ["a", "ab", "abc", "cab", "ba", "c", "bca", "bb"]

    def make(split):
        return Task(
            name="letters", split=split, size=len(prompts), tokenizer=Padded("abc", pad), prompt=lambda i: prompts[i],
            steps=lambda i: ["b"], fields={"correct": (), "size": ()},
            verify=lambda i, sample: {"correct": sample.text.count("b") / 3, "size": float(np.sum(sample.mask))},
        )  # fmt: skip

    return {split: make(split) for split in ("train", "validation", "held_out")}
