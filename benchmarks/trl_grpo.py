"""The step of `workload.py` by TRL's GRPOTrainer, in TRL's own environment (`trl-requirements.txt`).

It prints the same lines as `by_hand.py`. Generation and the reference pass are timed inside the trainer; `update` is the rest of the
step, TRL's own entropy and bookkeeping included, because the trainer cannot be told to leave them out.

    trl/bin/python benchmarks/trl_grpo.py --steps=13 --pieces=8
"""

import argparse
import os
import tempfile

os.environ.update(dict.fromkeys(["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "TQDM_DISABLE"], "1"))

import torch  # noqa: E402
import transformers  # noqa: E402
import workload as w  # noqa: E402
from datasets import Dataset  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402

END = w.VOCAB  # an id that the model has no logit for: no response ends early


class TimedTrainer(GRPOTrainer):
    """GRPOTrainer with a stopwatch around generation and around the passes that take no gradient."""

    watch: w.Stopwatch

    def _generate(self, prompts):
        self.watch.lap("update")  # fetching the batch
        result = super()._generate(prompts)
        self.watch.lap("generate")
        return result

    def _get_per_token_logps_and_entropies(self, *args, **kwargs):
        if torch.is_grad_enabled():
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)
        self.watch.lap("update")  # rewards and padding
        result = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        self.watch.lap("reference")
        return result


class Steps(transformers.TrainerCallback):
    """One line per step, from the end of the step before to its end; the first begins when training begins."""

    def __init__(self, watch: w.Stopwatch, rewards: list[float]) -> None:
        self.watch, self.rewards = watch, rewards

    def on_step_end(self, args, state, control, **kwargs):
        self.watch.lap("update")
        self.watch.line(reward=round(self.rewards[-1], 4))


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Words t0 ... t511, and one end and padding token beyond the vocabulary of the model."""
    words = {f"t{i}": i for i in range(w.VOCAB)} | {"<end>": END}
    fast = Tokenizer(models.WordLevel(words))
    fast.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=fast, eos_token="<end>", pad_token="<end>", padding_side="left")


def policy() -> transformers.Qwen2ForCausalLM:
    config = transformers.Qwen2Config(
        vocab_size=w.VOCAB,
        hidden_size=w.HIDDEN,
        intermediate_size=w.MLP,
        num_hidden_layers=w.LAYERS,
        num_attention_heads=w.HEADS,
        num_key_value_heads=w.KV_HEADS,
        max_position_embeddings=w.LENGTH,
        rms_norm_eps=w.NORM_EPSILON,
        rope_parameters={"rope_type": "default", "rope_theta": w.ROPE_THETA},
        initializer_range=w.INIT_STD,
        tie_word_embeddings=True,
    )
    return transformers.Qwen2ForCausalLM(config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=13)
    parser.add_argument("--pieces", type=int, default=1, help="pieces in which rows go through the reference and the update")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rewards: list[float] = []

    def even_tokens(prompts, completions, completion_ids, **_):
        """Share of even tokens, as in `by_hand.py`; refuses a response of another length."""
        lengths = {len(ids) for ids in completion_ids} | {len(text.split()) + w.PROMPT_TOKENS for text in prompts}
        if len(completion_ids) != w.ROWS or lengths != {w.RESPONSE_TOKENS}:
            raise ValueError(
                f"TRL made {len(completion_ids)} responses, lengths {lengths}; the workload has {w.ROWS} x {w.RESPONSE_TOKENS}"
            )
        values = [sum(token % 2 == 0 for token in ids) / len(ids) for ids in completion_ids]
        rewards.append(sum(values) / len(values))
        return values

    with tempfile.TemporaryDirectory() as folder:
        model = policy()
        model.save_pretrained(folder)  # the trainer loads its reference from where the policy came from
        words = [" ".join(f"t{token}" for token in prompt) for step in range(args.steps) for prompt in w.prompts(step)]
        config = GRPOConfig(
            output_dir=f"{folder}/out",
            max_steps=args.steps,
            per_device_train_batch_size=w.ROWS // args.pieces,
            gradient_accumulation_steps=args.pieces,
            num_generations=w.SAMPLES,
            max_completion_length=w.RESPONSE_TOKENS,
            temperature=w.TEMPERATURE,
            top_p=1.0,
            top_k=0,
            beta=w.KL_COEFFICIENT,
            epsilon=w.CLIP_EPSILON,
            loss_type="grpo",
            num_iterations=1,
            learning_rate=w.LEARNING_RATE,
            lr_scheduler_type="constant",
            adam_beta1=w.ADAM_B1,
            adam_beta2=w.ADAM_B2,
            adam_epsilon=w.ADAM_EPSILON,
            weight_decay=w.WEIGHT_DECAY,
            max_grad_norm=w.CLIP_NORM,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            shuffle_dataset=False,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=0,
        )
        trainer = TimedTrainer(
            model=transformers.Qwen2ForCausalLM.from_pretrained(folder),
            reward_funcs=even_tokens,
            args=config,
            train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in words]),
            processing_class=tokenizer(),
        )
        if (trainer.ref_model is None) or next(trainer.ref_model.parameters()).dtype != torch.float32:
            raise ValueError("TRL made no float32 reference model; the workload has one")
        trainer.watch = w.Stopwatch()
        trainer.add_callback(Steps(trainer.watch, rewards))
        trainer.train()


if __name__ == "__main__":
    main()
