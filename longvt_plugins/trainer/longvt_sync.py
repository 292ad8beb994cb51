"""Trainer mode ``longvt_sync`` (``trainer.v1.trainer_mode``): verl's synchronous V1 trainer, and three things.

1. Inclusion: abstained and faulted trajectories get advantage 0, do not move their group's mean or std, and are
   masked out of the update (its KL term, its token count). A reward that says so ends the run, and so do rollouts
   that all fault.
2. Every trajectory is written (``trajectory_log``), with its advantage, and counted into verl's logger.
3. The phase of the run is written (``progress``), so that a stalled run can be seen and ended.

What cannot work is refused before anything starts (``preflight``); every checkpoint is stamped with its media profile.

Recipe options, under ``trainer.longvt``: ``folder`` (default ``trainer.default_local_dir``), and ``components``:
weights of reward fields whose advantages are computed apart (``{acc: 1.0, grounding: 1.0, format: 0.2}``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from omegaconf import open_dict
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from longvt_plugins.loops.options import INCLUSION_KEY
from longvt_plugins.tokens.profiles import stamp
from longvt_plugins.types import RewardRecord, TrajectoryRecord, Transcript

from . import group_filter, trajectory_log
from .components import component_advantages
from .inclusion import check_survivors, included, least_scored, scored
from .metrics import metrics as metrics_of
from .options import read_options
from .preflight import check_agents, preflight
from .progress import Progress
from .rows import get_rows, group_of, put_rows

RECORD_FIELDS = ["uid", "prompts", "responses", "response_mask", "rollout_log_probs", "extra_fields"]
RECORD_FIELDS += ["data_source", "reward_model", "extra_info", "index"]
# What the base writes beside advantages and returns, with KL in the reward and with rollout correction.
OPTIONAL_FIELDS = ("token_level_rewards", "rollout_is_weights")


@register_trainer("longvt_sync")
class LongVTTrainer(PPOTrainerSync):
    """See the module docstring."""

    def __init__(self, config, *args: Any, **kwargs: Any):
        folder, self.components = read_options(config.trainer)
        with open_dict(config):
            # The base classes compare the mode with the literal "sync" in six places.
            config.trainer.v1.trainer_mode = "sync"
            # What tells the agent loops that this trainer runs them.
            config.trainer[INCLUSION_KEY] = True
        self.folder = folder or config.trainer.default_local_dir
        self.profile = preflight(config, self.folder)
        self.progress = Progress(self.folder)
        stamp(self.folder, self.profile.name)
        self._included: dict[str, bool] = {}
        self.global_steps = self.total_training_steps = 0
        super().__init__(config, *args, **kwargs)

    def _at(self, phase: str) -> None:
        self.progress(phase, self.global_steps, self.total_training_steps)

    def _build_replay_buffer(self):
        buffer = super()._build_replay_buffer()
        group_filter.install(buffer)
        return _Tap(buffer, self._rolled_out)

    def _setup(self) -> None:
        self._at("starting workers and rollout engine")
        super()._setup()

    def _init_dataloader(self) -> None:
        super()._init_dataloader()
        for dataset in (self.train_dataset, self.val_dataset):
            check_agents(getattr(dataset, "agents", ()))

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
        real = {key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)}
        excluded = [key for key in batch.keys if key in real and not self._included[key]]
        metrics["longvt/update_skipped"] = float(len(excluded) == len(real))
        if len(excluded) == len(real):
            return batch
        with self._masked_out(batch, excluded, len(batch.keys) - len(real)):
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
        extra = get_rows(batch, ["extra_fields"])["extra_fields"]
        real = [not tag.get("is_padding", False) for tag in batch.tags]
        groups = [group_of(key) for key in batch.keys]
        has_score = [is_real and scored(fields) for is_real, fields in zip(real, extra, strict=True)]
        take_part = included(groups, has_score, least_scored(self.config.algorithm.adv_estimator))
        self._included.update(zip(batch.keys, take_part, strict=True))
        if all(take_part) and not self.components:
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
            columns = {n: dict(zip(subset.keys, rows, strict=True)) for n, rows in get_rows(subset, names).items()}
            if self.components:
                rewards = [extra[i]["reward_extra_info"] for i in chosen]
                apart = component_advantages([groups[i] for i in chosen], rewards, self.components)
                masks = get_rows(subset, ["response_mask"])["response_mask"]
                rows = [float(value) * mask.float() for value, mask in zip(apart, masks, strict=True)]
                columns["advantages"] = columns["returns"] = dict(zip(subset.keys, rows, strict=True))
        masks = get_rows(batch, ["response_mask"])["response_mask"]
        everything = put_rows(
            batch.keys,
            batch.partition_id,
            {
                name: [known.get(k, torch.zeros(len(mask))) for k, mask in zip(batch.keys, masks, strict=True)]
                for name, known in columns.items()
            },
        )
        everything.extra_info = batch.extra_info
        return everything

    @contextmanager
    def _masked_out(self, batch, excluded: list[str], padding: int) -> Iterator[None]:
        """Take rows out of the update: their advantage is 0, but a KL or entropy term and the token count see them."""
        if not excluded:
            yield
            return
        subset = type(batch)(keys=excluded, tags=[{}] * len(excluded), partition_id=batch.partition_id)
        columns = get_rows(subset, ["response_mask", "loss_mask"])
        # A mini-batch without a single token would divide by zero. Only so many rows can fill one.
        actor = self.config.actor_rollout_ref
        can_fill_one = len(excluded) + padding >= actor.actor.ppo_mini_batch_size * actor.rollout.n
        masked = {name: [_mask_without(row, can_fill_one) for row in rows] for name, rows in columns.items()}
        put_rows(excluded, batch.partition_id, masked)
        try:
            yield
        finally:
            put_rows(excluded, batch.partition_id, columns)

    def step(self, metrics: dict, timing_raw: dict):
        batch = super().step(metrics, timing_raw)
        started = time.perf_counter()
        # Before the checkpoint, after which nobody makes them again, and the validation, which may end the run.
        self._trained = self._records(batch, "train")
        trajectory_log.write(f"{self.folder}/trajectories", "train", self.global_steps, self._trained)
        self._included.clear()
        metrics["longvt/time/trajectories"] = time.perf_counter() - started
        return batch

    def _compute_metrics(self, batch, metrics: dict, timing_raw: dict, global_steps: int, epoch: int) -> None:
        super()._compute_metrics(batch, metrics, timing_raw, global_steps=global_steps, epoch=epoch)
        metrics.update(metrics_of(self._trained))
        # With KL in the reward, rewards are more than scores.
        names = ["critic/score"] if self.config.algorithm.use_kl_in_reward else ["critic/score", "critic/rewards"]
        metrics.update(_score_metrics(self._trained, names))

    def _validate(self) -> dict[str, float]:
        self._validation: list[TrajectoryRecord] = []
        val_metrics = super()._validate()
        trajectory_log.write(f"{self.folder}/trajectories", "val", self.global_steps, self._validation)
        ours = metrics_of(self._validation)
        return _of_scored(val_metrics) | {f"val-{name}": value for name, value in ours.items()}

    def _rolled_out(self, batch) -> None:
        check_survivors([group_of(key) for key in batch.keys], get_rows(batch, ["extra_fields"])["extra_fields"])
        if batch.partition_id == "val":
            self._validation += self._records(batch, "val")

    def _records(self, batch, split: str) -> list[TrajectoryRecord]:
        keys = [k for k, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
        names = [*RECORD_FIELDS, "advantages"] if split == "train" else RECORD_FIELDS
        columns = get_rows(type(batch)(keys=keys, tags=[{}] * len(keys), partition_id=batch.partition_id), names)
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
            included=self._included[key] if split == "train" else scored(extra),
            advantage=(float(row["advantages"][on].mean()) if on.any() else 0.0) if split == "train" else None,
            prompt_ids=row["prompts"].tolist(),
            response_ids=row["responses"].tolist(),
            response_mask=mask.tolist(),
            rollout_log_probs=None if log_probs is None else log_probs.tolist(),
            weights_step=(extra["min_global_steps"], extra["max_global_steps"]),
        )


class _Tap:
    """Shows each batch of rollouts to the trainer: before engines sleep, before ``_validate`` clears the queue."""

    def __init__(self, buffer, on_batch: Callable[[Any], None]):
        self._buffer = buffer
        self._on_batch = on_batch

    def __getattr__(self, name: str):
        return getattr(self._buffer, name)

    def sample(self, global_steps: int, partition_id: str, batch_size: int):
        batch, metrics = self._buffer.sample(
            global_steps=global_steps, partition_id=partition_id, batch_size=batch_size
        )
        self._on_batch(batch)
        return batch, metrics


def _mask_without(mask: torch.Tensor, keep_one: bool) -> torch.Tensor:
    masked = torch.zeros_like(mask)
    masked[:1] = int(keep_one)
    return masked


def _of_scored(metrics: dict[str, float]) -> dict[str, float]:
    """verl's metrics of a validation, with its accuracy over what was judged: to verl, what was not is wrong."""
    only = "/acc_success_only/"
    judged = {name.partition("/")[2].replace(only, "/acc/"): value for name, value in metrics.items() if only in name}
    return {name: judged.get(name.partition("/")[2], value) for name, value in metrics.items()}


def _score_metrics(records: list[TrajectoryRecord], names: list[str]) -> dict[str, float]:
    """verl's ``critic/score/*`` over the scored trajectories: a 0 that stands for no score is not one."""
    values = [record.reward.score for record in records if not (record.reward.abstained or record.reward.faulted)]
    if not values:
        return {}
    found = {"mean": sum(values) / len(values), "max": max(values), "min": min(values)}
    return {f"{name}/{key}": value for name in names for key, value in found.items()}
