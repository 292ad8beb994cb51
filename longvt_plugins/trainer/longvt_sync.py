"""Trainer mode ``longvt_sync`` (``trainer.v1.trainer_mode``): verl's synchronous V1 trainer, and three things.

1. Inclusion: abstained and faulted trajectories get advantage 0 and do not move their group's mean or std.
2. Every trajectory is written (``trajectory_log``), with its advantage, and counted into verl's logger.
3. The phase of the run is written (``progress``), so that a stalled run can be seen and ended.

What cannot work is refused before anything starts (``preflight``); every checkpoint is stamped with its media profile.

Recipe options, under ``trainer.longvt``: ``folder`` (default ``trainer.default_local_dir``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transfer_queue as tq
from omegaconf import open_dict
from tensordict import TensorDict
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from longvt_plugins.errors import ConfigError
from longvt_plugins.tokens.profiles import stamp
from longvt_plugins.types import RewardRecord, TrajectoryRecord, Transcript

from . import trajectory_log
from .inclusion import included
from .metrics import metrics as metrics_of
from .preflight import preflight
from .progress import Progress

RECORD_FIELDS = ["uid", "prompts", "responses", "response_mask", "rollout_log_probs", "extra_fields"]
RECORD_FIELDS += ["data_source", "reward_model", "extra_info", "index"]
# What the base writes beside advantages and returns, with KL in the reward and with rollout correction.
OPTIONAL_FIELDS = ("token_level_rewards", "rollout_is_weights")


@register_trainer("longvt_sync")
class LongVTTrainer(PPOTrainerSync):
    """See the module docstring."""

    def __init__(self, config, *args: Any, **kwargs: Any):
        options = dict(config.trainer.get("longvt") or {})
        with open_dict(config):
            # The base classes compare the mode with the literal "sync" in six places.
            config.trainer.v1.trainer_mode = "sync"
        self.folder = options.pop("folder", None) or config.trainer.default_local_dir
        if options:
            raise ConfigError(f"trainer.longvt keys {list(options)}", "the only known key is folder", "Remove them.")
        self.profile = preflight(config, self.folder)
        self.progress = Progress(self.folder)
        stamp(self.folder, self.profile.name)
        self._included: dict[str, bool] = {}
        self.global_steps = self.total_training_steps = 0
        super().__init__(config, *args, **kwargs)

    def _at(self, phase: str) -> None:
        self.progress(phase, self.global_steps, self.total_training_steps)

    def _build_replay_buffer(self):
        return _ValidationTap(super()._build_replay_buffer(), self._write_validation)

    def _setup(self) -> None:
        self._at("starting workers and rollout engine")
        super()._setup()

    def on_init_end(self) -> None:
        self._at("first weight sync")
        super().on_init_end()

    def on_validate_begin(self) -> None:
        self._at("validation rollouts")
        super().on_validate_begin()

    def on_sample_begin(self) -> None:
        self._at("rollouts")
        super().on_sample_begin()

    def on_sample_end(self) -> None:
        self._at("log-probabilities")
        super().on_sample_end()

    def _update_actor(self, batch, metrics: dict):
        self._at("policy update")
        return super()._update_actor(batch, metrics)

    def _save_checkpoint(self) -> None:
        self._at("checkpoint")
        super()._save_checkpoint()
        folder = Path(self.config.trainer.default_local_dir, f"global_step_{self.global_steps}")
        # verl's merger writes the model beside these shards, and takes other files along.
        for checkpoint in (folder, folder / "actor" / "huggingface"):
            if checkpoint.is_dir():
                stamp(checkpoint, self.profile.name)

    def on_step_end(self) -> None:
        self._at("weight sync")
        super().on_step_end()
        self._at("step done")

    def _compute_advantage(self, batch, metrics: dict):
        """The base computes advantages among the included trajectories; the others get 0."""
        real = [not tag.get("is_padding", False) for tag in batch.tags]
        extra = _get(batch, ["extra_fields"])["extra_fields"]
        scored = [is_real and _scored(fields) for is_real, fields in zip(real, extra, strict=True)]
        take_part = included([key.rsplit("_", 2)[0] for key in batch.keys], scored)
        self._included = dict(zip(batch.keys, take_part, strict=True))
        if all(take_part):
            return super()._compute_advantage(batch, metrics)

        chosen = [i for i, takes_part in enumerate(take_part) if takes_part]
        columns: dict[str, dict[str, torch.Tensor]] = {"advantages": {}, "returns": {}}
        if chosen:
            subset = type(batch)(
                keys=[batch.keys[i] for i in chosen],
                tags=[batch.tags[i] for i in chosen],
                partition_id=batch.partition_id,
                fields=batch.fields,
                extra_info=batch.extra_info,
            )
            written = super()._compute_advantage(subset, metrics).fields or ()
            names = ["advantages", "returns", *(name for name in OPTIONAL_FIELDS if name in written)]
            columns = {n: dict(zip(subset.keys, rows, strict=True)) for n, rows in _get(subset, names).items()}
        masks = _get(batch, ["response_mask"])["response_mask"]
        fields = {}
        for name, known in columns.items():
            rows = [known.get(k, torch.zeros(len(mask))) for k, mask in zip(batch.keys, masks, strict=True)]
            fields[name] = torch.nested.as_nested_tensor(rows, layout=torch.jagged)
        everything = tq.kv_batch_put(batch.keys, batch.partition_id, fields=TensorDict(fields, batch_size=len(batch)))
        everything.extra_info = batch.extra_info
        return everything

    def _compute_metrics(self, batch, metrics: dict, timing_raw: dict, global_steps: int, epoch: int) -> None:
        super()._compute_metrics(batch, metrics, timing_raw, global_steps=global_steps, epoch=epoch)
        started = time.perf_counter()
        records = self._records(batch, "train")
        trajectory_log.write(f"{self.folder}/trajectories", "train", self.global_steps, records)
        metrics.update(metrics_of(records))
        metrics["longvt/time/trajectories"] = time.perf_counter() - started

    def _validate(self) -> dict[str, float]:
        self._validation: list[TrajectoryRecord] = []
        val_metrics = super()._validate()
        trajectory_log.write(f"{self.folder}/trajectories", "val", self.global_steps, self._validation)
        ours = metrics_of(self._validation)
        return val_metrics | {f"val-{name}": value for name, value in ours.items()}

    def _write_validation(self, batch) -> None:
        self._validation += self._records(batch, "val")

    def _records(self, batch, split: str) -> list[TrajectoryRecord]:
        keys = [k for k, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
        names = [*RECORD_FIELDS, "advantages"] if split == "train" else RECORD_FIELDS
        columns = _get(type(batch)(keys=keys, tags=[{}] * len(keys), partition_id=batch.partition_id), names)
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return [self._record(key, row, split) for key, row in zip(keys, rows, strict=True)]

    def _record(self, key: str, row: dict[str, Any], split: str) -> TrajectoryRecord:
        extra, info = row["extra_fields"], row["extra_info"] or {}
        mask, log_probs = row["response_mask"], row.get("rollout_log_probs")
        on = mask.bool()
        return TrajectoryRecord(
            run=self.config.trainer.experiment_name,
            step=self.global_steps,
            split=split,
            group=str(row["uid"]),
            session=int(key.rsplit("_", 2)[1]),
            data_source=row["data_source"],
            sample_index=row["index"],
            question=info.get("question") or "",
            ground_truth=row["reward_model"]["ground_truth"],
            transcript=Transcript.model_validate(extra["longvt"]),
            reward=RewardRecord.model_validate(extra["reward_extra_info"]),
            included=self._included[key] if split == "train" else _scored(extra),
            advantage=(float(row["advantages"][on].mean()) if on.any() else 0.0) if split == "train" else None,
            prompt_ids=row["prompts"].tolist(),
            response_ids=row["responses"].tolist(),
            response_mask=mask.tolist(),
            rollout_log_probs=None if log_probs is None else log_probs.tolist(),
            weights_step=(extra["min_global_steps"], extra["max_global_steps"]),
        )


class _ValidationTap:
    """Shows each validation batch to the trainer before ``_validate`` clears it from the queue."""

    def __init__(self, buffer, on_validation: Callable[[Any], None]):
        self._buffer = buffer
        self._on_validation = on_validation

    def __getattr__(self, name: str):
        return getattr(self._buffer, name)

    def sample(self, global_steps: int, partition_id: str, batch_size: int):
        batch, metrics = self._buffer.sample(
            global_steps=global_steps, partition_id=partition_id, batch_size=batch_size
        )
        if partition_id == "val":
            self._on_validation(batch)
        return batch, metrics


def _get(batch, names: list[str]) -> dict[str, list]:
    """Fields of a batch as lists of rows: tensors for nested or stacked fields, objects for the others."""
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=names)
    columns = {name: data[name] for name in names if name in data.keys()}  # noqa: SIM118
    return {name: _rows(column) for name, column in columns.items()}


def _rows(column) -> list:
    if isinstance(column, torch.Tensor):
        return list(column.unbind())
    # TransferQueue returns a NonTensorStack, or a list subclass, depending on what was stored.
    return column.tolist() if hasattr(column, "tolist") else list(column)


def _scored(extra_fields: dict[str, Any]) -> bool:
    reward = extra_fields.get("reward_extra_info") or {}
    if not {"abstained", "faulted"} <= reward.keys():
        raise ConfigError(
            f"the reward function returned {sorted(reward)}",
            "longvt_sync needs the keys of RewardRecord",
            "Set reward.custom_reward_function to pkg://longvt_plugins.reward, compute_score.",
        )
    return not (reward["abstained"] or reward["faulted"])
