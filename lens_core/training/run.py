"""One training run from files to files: problems and a base policy in, a trained policy and its metrics out."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors import SafetensorError
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINING_ARGS_NAME

from lens_core.baselines import find_estimator
from lens_core.config import TrainConfig, VllmConfig
from lens_core.errors import LensError, first_line
from lens_core.files import append_lines, write_text
from lens_core.rollout.engine import Engine, best_device, encode_prompt, format_prompt, load_policy, require_room
from lens_core.training.checkpoint import read_state, trained_steps
from lens_core.training.engine_rollouts import AsyncSampler
from lens_core.training.metrics_file import METRICS_FILE, read_metrics
from lens_core.training.spec import OnStep, TrainingSpec
from lens_core.training.stopping import STOP_FILE, StopWhenAsked
from lens_core.training.trainer import LensTrainer
from lens_core.training.trl_trainer import GRPOConfig
from lens_core.verify.reward import VerifierReward

SHARDED: Mapping[str, Any] = {"fsdp": True, "fsdp_config": {"state_dict_type": "SHARDED_STATE_DICT"}}
"""FSDP2 in the words of TrainingArguments: each process saves and loads its own shards."""


def train_policy(
    training: TrainingSpec,
    on_step: OnStep = lambda step, metrics: None,
    callbacks: Sequence[TrainerCallback] = (),
    rollouts: AsyncSampler | None = None,
) -> Path:
    """Train, and save policy and tokenizer into `training.output`, in Hugging Face format.

    `metrics.jsonl` there gets a line for each logged step: `{"step": 10, "reward": 0.31, ...}`, finite numbers only. A
    training that was asked to stop (lens_core.training.stopping) leaves a checkpoint, the request, and no policy.

    Args:
        callbacks: of Trainer, beside our own.
        rollouts: where completions come from in place of what `config.vllm` says.
    """
    config, method, output, resume_from = training.config, training.method, training.output, training.resume_from
    model, tokenizer = load_policy(training.base, dtype=_weights_dtype(config))
    # Tied weights are stored once, and not missed in a checkpoint.
    model._keys_to_ignore_on_save = {*(model._keys_to_ignore_on_save or ()), *model.all_tied_weights_keys}
    dataset = Dataset.from_list(
        [
            {"prompt": format_prompt(problem.prompt, tokenizer, config.prompt), "answer": problem.gold}
            for problem in training.problems
        ]
    )
    output.mkdir(parents=True, exist_ok=True)
    longest = max(len(encode_prompt(problem.prompt, tokenizer, config.prompt)) for problem in training.problems)
    require_room(model.config, longest, config.max_new_tokens)
    needed = config.prompts_per_step * config.updates_per_batch
    if len(training.problems) < needed:
        raise LensError(
            f"a batch of rollouts takes {needed} problems (train.prompts_per_step x train.updates_per_batch), and "
            f"there are {len(training.problems)} to train on: lower one of them, or bring more data"
        )
    with _engine(config, training.base, longest) as engine:
        stopping = StopWhenAsked()
        trainer = LensTrainer(
            model,
            reward_funcs=VerifierReward(config.verifier, config.answer_pattern, config.extraction == "strict"),
            args=grpo_config(config, output),
            train_dataset=dataset,
            processing_class=tokenizer,
            callbacks=[_MetricsFile(output / METRICS_FILE, on_step), stopping, *callbacks],
            peft_config=_peft_config(config),
            estimator=partial(find_estimator(method.objective), **method.parameters),
            success_threshold=method.resolved.get("success_threshold", 0.0),
            resample_rounds=config.resample_rounds,
            resample_groups=config.resample_groups,
            economy=config.economy,
            engine=engine if rollouts is None else rollouts,
            max_off_policy=config.rollouts.max_off_policy if config.rollouts and rollouts else 0,
            row_seeded=True,
            truncated_leave_group=config.truncated_leave_group,
            max_tokens=config.max_tokens,
            max_ungraded_share=config.max_ungraded_share,
            max_skipped_steps=config.max_skipped_steps,
            run_state=training.run_state,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.create_model_card = _no_card
        if resume_from is not None and _had_ended(resume_from, config):
            trainer._load_from_checkpoint(str(resume_from))  # `train` would take one more step before it looks
        else:
            trainer.train(resume_from_checkpoint=None if resume_from is None else str(resume_from))
    if not stopping.stopped:
        _save_policy(trainer, tokenizer, output)
        if trainer.accelerator.is_main_process:
            (output / STOP_FILE).unlink(missing_ok=True)
    return output


def _had_ended(checkpoint: Path, config: TrainConfig) -> bool:
    """Whether a training was stopped between its last checkpoint and the end of saving its policy."""
    spent = config.max_tokens is not None and read_state(checkpoint)["tokens_generated"] >= config.max_tokens
    return spent or trained_steps(checkpoint) >= config.steps


def grpo_config(config: TrainConfig, output: Path) -> GRPOConfig:
    """Our training section in TRL's words.

    Raises:
        LensError: if the ranks of this launch cannot share a step's completions evenly.
    """
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    rollouts = config.prompts_per_step * config.group_size
    micro_batch = config.micro_batch_of(ranks)
    accumulation = rollouts // (ranks * micro_batch)
    return GRPOConfig(
        output_dir=str(output),
        max_steps=config.steps,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=accumulation,
        steps_per_generation=accumulation * config.updates_per_batch,
        num_generations=config.group_size,
        max_completion_length=config.max_new_tokens,
        temperature=config.temperature,
        mask_truncated_completions=config.mask_truncated,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_steps,
        lr_scheduler_type=config.schedule,
        adam_beta2=config.adam_beta2,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        epsilon=config.clip,
        epsilon_high=config.clip_high,
        beta=config.beta,
        loss_type=config.loss_type,
        bf16=config.bf16,
        gradient_checkpointing=config.gradient_checkpointing,
        use_cpu=best_device() == "cpu",  # several processes on a CPU are told apart only so
        optim="adamw_torch_fused",
        seed=config.seed,
        logging_steps=config.log_every,
        save_strategy="no" if config.checkpoint_every is None else "steps",
        save_steps=500 if config.checkpoint_every is None else config.checkpoint_every,
        save_total_limit=config.keep_checkpoints,
        report_to="none",
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        **_vllm_arguments(config.vllm),
        **_sharding_arguments(config, ranks),
    )


def _sharding_arguments(config: TrainConfig, ranks: int) -> Mapping[str, Any]:
    """FSDP2 where it is asked for.

    Raises:
        LensError: on one process, or on CPUs, which Accelerate does not shard over.
    """
    if not config.fsdp:
        return {}
    if ranks == 1 or not torch.cuda.is_available():
        raise LensError("train.fsdp shards a policy over several GPUs: train with --workers 2 or more, or leave it out")
    return SHARDED


def _vllm_arguments(config: VllmConfig | None) -> dict[str, Any]:
    """TRL's own vLLM, which needs a GPU; without one, see `_engine`."""
    if config is None or not torch.cuda.is_available():
        return {}
    return {
        "use_vllm": True,
        "vllm_mode": config.mode,
        "vllm_server_base_url": config.server_url,
        "vllm_gpu_memory_utilization": config.memory_share,
    }


@contextmanager
def _engine(config: TrainConfig, base: Path, longest_prompt: int) -> Iterator[Engine | None]:
    """vLLM in this process where it is asked for and there is no GPU; else None."""
    if config.vllm is None or torch.cuda.is_available():
        yield None
        return
    if config.vllm.mode == "server":
        raise LensError("train.vllm.mode 'server' needs a GPU: TRL's client moves weights with NCCL; use 'colocate'")
    from lens_core.rollout.vllm_engine import VllmEngine

    engine = VllmEngine(base, longest_prompt + config.max_new_tokens)
    try:
        yield engine
    finally:
        engine.close()


def _weights_dtype(config: TrainConfig) -> torch.dtype:
    """float32 for what is trained: at a learning rate of 1e-6, bfloat16 weights round every update away."""
    return torch.bfloat16 if config.bf16 and config.lora is not None else torch.float32


def _peft_config(config: TrainConfig) -> Any:
    if config.lora is None:
        return None
    import peft

    return peft.LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        lora_dropout=0.0,  # dropout would make sampling and training two different policies
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _no_card(*_: Any, **__: Any) -> None:
    """In place of TRL's, which knows neither base nor data: `lens register` writes ours."""


def _save_policy(trainer: LensTrainer, tokenizer: PreTrainedTokenizerBase, output: Path) -> None:
    """Whole weights also after LoRA, so that whatever reads the policy needs no adapter.

    Raises:
        LensError: if they cannot be written; checkpoints stay.
    """
    try:
        policy = trainer.accelerator.unwrap_model(trainer.model)
        if hasattr(policy, "merge_and_unload"):
            if trainer.accelerator.is_main_process:
                _merged(policy).save_pretrained(output)
        else:
            trainer.save_model(str(output))
        if trainer.accelerator.is_main_process:
            (output / TRAINING_ARGS_NAME).unlink(missing_ok=True)  # a pickle, which nobody reads
            tokenizer.save_pretrained(output)
    except (OSError, SafetensorError) as error:
        raise LensError(
            f"the trained policy could not be written to {output}: {first_line(error)}. Make room and resume: "
            "checkpoints are kept"
        ) from error


def _merged(policy: Any) -> PreTrainedModel:
    """The policy with its adapters added to the weights in float32, and rounded once, to what the weights were."""
    stored = policy.get_base_model().dtype
    merged: PreTrainedModel = policy.to("cpu", torch.float32).merge_and_unload().to(stored)
    return merged


class _MetricsFile(TrainerCallback):
    """Writes each logged step into a JSON Lines file as it happens, and passes it on."""

    def __init__(self, path: Path, on_step: OnStep) -> None:
        self._path = path
        self._on_step = on_step
        self._start = time.monotonic()
        self._before_s = 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Keep the lines up to the checkpoint that is resumed from: later ones are about to be written again."""
        if not state.is_world_process_zero:  # another rank would read what this one is about to replace
            return
        kept = [step for step in read_metrics(self._path.parent) if step["step"] <= state.global_step]
        text = "".join(json.dumps(step) + "\n" for step in kept)
        write_text(self._path, text)
        self._before_s = kept[-1]["elapsed_s"] if kept else 0.0
        self._start = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """The last step is logged whatever `log_every` is: studies and sweeps report what it says."""
        control.should_log = control.should_log or state.global_step >= state.max_steps
        return control

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if logs is None or "grad_norm" not in logs or not state.is_world_process_zero:
            return  # the summary line at the end of training is no step
        numbers = {key: float(value) for key, value in logs.items() if isinstance(value, int | float)}
        metrics = {key: value for key, value in numbers.items() if math.isfinite(value)}
        metrics["elapsed_s"] = self._before_s + time.monotonic() - self._start
        append_lines(self._path, [json.dumps({"step": state.global_step, **metrics})])
        self._on_step(state.global_step, metrics)
