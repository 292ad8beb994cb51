"""Inclusion in the trainer's own code, over a real TransferQueue and verl's real advantages and filter."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from longvt_plugins.errors import ConfigError, JudgeError, RolloutError
from longvt_plugins.testing.recipe import compose_recipe

N = 4
FAULT = float("nan")
"""In place of a score: the trajectory faulted."""


@pytest.fixture(scope="module")
def queue():
    """A TransferQueue of its own on a small local Ray."""
    import ray
    import transfer_queue as tq

    ray.init(num_cpus=2, include_dashboard=False, ignore_reinit_error=True, log_to_driver=False)
    tq.init(compose_recipe("longvt_demo").transfer_queue)
    yield tq
    tq.close()
    ray.shutdown()


@pytest.fixture(scope="module")
def module(queue):
    import verl.trainer.ppo.v1  # noqa: F401

    from longvt_plugins.trainer import longvt_sync

    return longvt_sync


def make_trainer(module, *overrides):
    """The trainer without workers: what decides inclusion needs its config alone."""
    trainer = module.LongVTTrainer.__new__(module.LongVTTrainer)
    trainer.config = compose_recipe("longvt_demo", overrides)
    trainer._included = {}
    trainer.components = dict((trainer.config.trainer.get("longvt") or {}).get("components") or {})
    return trainer


def reward(score, **fields):
    if score is FAULT:
        return reward(0.0, acc=None, faulted=True)
    out = score is None
    record = {"score": 0.0 if out else score, "acc": None if out else score, "format": 1.0, "grounding": None}
    return {**record, "abstained": out, "faulted": False, "stop": False, "reason": "planted", **fields}


def put(queue, partition, groups):
    """Groups of scores (``None`` abstains) as trajectories of 2 to 5 tokens. Returns the batch and its scores."""
    from transfer_queue import KVBatchMeta

    keys = [f"{name}_{session}_0" for name, scores in groups.items() for session in range(len(scores))]
    scores = [score for group in groups.values() for score in group]
    lengths = [2 + index % 4 for index in range(len(keys))]
    nest = lambda rows: torch.nested.as_nested_tensor(rows, layout=torch.jagged)  # noqa: E731
    totals = [torch.zeros(length) for length in lengths]
    for total, score in zip(totals, scores, strict=True):
        total[-1] = 0.0 if score in (None, FAULT) else score
    from verl.utils.tensordict_utils import get_tensordict

    fields = get_tensordict(
        {
            "response_mask": nest([torch.ones(length, dtype=torch.int64) for length in lengths]),
            "loss_mask": nest([torch.ones(length, dtype=torch.int64) for length in lengths]),
            "rm_scores": nest(totals),
            "old_log_probs": nest([torch.zeros(length) for length in lengths]),
            "rollout_log_probs": nest([torch.zeros(length) for length in lengths]),
            "uid": [key.split("_")[0] for key in keys],
            "extra_fields": [
                {
                    "reward_extra_info": reward(score),
                    "longvt": {"fault": {"kind": "EngineDeadError", "message": "planted"} if score is FAULT else None},
                }
                for score in scores
            ],
        }
    )
    queue.kv_batch_put(keys, partition, fields=fields, tags=[{"status": "success"}] * len(keys))
    return KVBatchMeta(partition_id=partition, keys=keys, tags=[{}] * len(keys)), np.array(scores, dtype=float)


def grpo(scores):
    """Offline: a group's advantages without its abstained members."""
    scored = scores[~np.isnan(scores)]
    if len(scored) < 2:
        return np.zeros(len(scores))
    return np.nan_to_num((scores - scored.mean()) / (scored.std(ddof=1) + 1e-6))


GROUPS = {
    "none": [1.2, 0.2, 1.0, 0.0],
    "one": [1.2, None, 1.0, 0.0],
    "two": [None, 0.2, None, 1.2],
    "allbutone": [None, None, 1.2, None],
    "all": [None] * N,
}


def advantages(module, batch):
    rows = module.get_rows(batch, ["advantages"])["advantages"]
    assert all((row == row[0]).all() for row in rows)
    return np.array([float(row[0]) for row in rows])


def test_advantages_equal_an_offline_computation_without_the_abstained(queue, module):
    trainer = make_trainer(module)
    batch, scores = put(queue, "some", GROUPS)
    result = trainer._compute_advantage(batch, {})
    expected = np.concatenate([grpo(scores[i : i + N]) for i in range(0, len(scores), N)])
    assert advantages(module, batch) == pytest.approx(expected, abs=1e-4)
    assert result.keys == batch.keys
    assert [trainer._included[key] for key in batch.keys] == [
        *[True] * 4, *[True, False, True, True], *[False, True, False, True], *[False] * 8,
    ]  # fmt: skip


def test_a_batch_of_abstentions_gives_zeros(queue, module):
    batch, _ = put(queue, "nothing", {"x": [None] * N, "y": [None, None, None, 1.0]})
    make_trainer(module)._compute_advantage(batch, {})
    assert not advantages(module, batch).any()


def test_without_groups_a_prompt_may_have_one_trajectory(queue, module):
    trainer = make_trainer(module, "algorithm.adv_estimator=reinforce_plus_plus", "actor_rollout_ref.rollout.n=1")
    batch, _ = put(queue, "lone", {"a": [1.2], "b": [None], "c": [0.0], "d": [0.7]})
    trainer._compute_advantage(batch, {})
    assert [trainer._included[key] for key in batch.keys] == [True, False, True, True]
    rows = module.get_rows(batch, ["advantages"])["advantages"]
    assert [bool(row.any()) for row in rows] == [True, False, True, True]


def test_components_are_normalised_apart_and_only_among_the_included(queue, module):
    from longvt_plugins.trainer.components import component_advantages

    trainer = make_trainer(module, "+trainer.longvt.components={acc: 1.0, format: 0.2}")
    batch, scores = put(queue, "apart", {"a": [1.0, 0.0, None, 0.5], "b": [0.0, 0.0, 1.0, 0.0]})
    trainer._compute_advantage(batch, {})
    inside = ~np.isnan(scores)
    groups = np.array([key.split("_")[0] for key in batch.keys])
    records = [{"acc": score, "format": 1.0} for score in scores[inside]]
    expected = np.zeros(len(scores))
    expected[inside] = component_advantages(groups[inside], records, {"acc": 1.0, "format": 0.2})
    assert advantages(module, batch) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("mini_batch", "first"), [(8, 0), (1, 1)])
def test_excluded_rows_are_masked_out_of_the_update_and_only_there(queue, module, monkeypatch, mini_batch, first):
    """``first``: a mini-batch made of excluded rows alone keeps a token a row, or it would divide by zero."""
    trainer = make_trainer(module, f"actor_rollout_ref.actor.ppo_mini_batch_size={mini_batch}")
    monkeypatch.setattr(trainer, "_at", lambda phase: None, raising=False)
    batch, _ = put(queue, f"masks{mini_batch}", GROUPS)
    trainer._compute_advantage(batch, {})
    before = module.get_rows(batch, ["response_mask", "loss_mask"])
    seen = {}

    def update(self, batch, metrics):
        seen.update(module.get_rows(batch, ["response_mask", "loss_mask"]))
        return batch

    monkeypatch.setattr(module.PPOTrainerSync, "_update_actor", update)
    metrics = {}
    trainer._update_actor(batch, metrics)
    for name in ("response_mask", "loss_mask"):
        for key, row in zip(batch.keys, seen[name], strict=True):
            assert row.sum() == (len(row) if trainer._included[key] else first)
            assert row.dtype == before[name][0].dtype
        after = module.get_rows(batch, [name])[name]
        assert all(torch.equal(a, b) for a, b in zip(after, before[name], strict=True))
    assert metrics == {"longvt/update_skipped": 0.0}


def test_rows_that_only_fill_a_batch_count_where_a_mini_batch_could_be_without_a_token(queue, module, monkeypatch):
    trainer = make_trainer(module, "actor_rollout_ref.actor.ppo_mini_batch_size=2")
    monkeypatch.setattr(trainer, "_at", lambda phase: None, raising=False)
    batch, _ = put(queue, "filled", {"a": [1.0, 0.0, 1.0, 0.0], "b": [None] * N, "padding": [0.0] * N})
    batch.tags = [{"is_padding": key.startswith("padding")} for key in batch.keys]
    trainer._compute_advantage(batch, {})
    seen = {}

    def update(self, batch, metrics):
        seen.update(zip(batch.keys, module.get_rows(batch, ["response_mask"])["response_mask"], strict=True))

    monkeypatch.setattr(module.PPOTrainerSync, "_update_actor", update)
    trainer._update_actor(batch, {})
    assert all(seen[key].sum() == 1 for key in batch.keys if key.startswith("b_"))


def test_trajectories_are_written_before_anything_can_end_the_run(module, monkeypatch, tmp_path):
    trainer = make_trainer(module)
    trainer.folder, trainer.global_steps = str(tmp_path), 7
    monkeypatch.setattr(module.PPOTrainerSync, "step", lambda self, metrics, timing_raw: "batch")
    monkeypatch.setattr(trainer, "_records", lambda batch, split: [])
    metrics = {}
    assert trainer.step(metrics, {}) == "batch" and "longvt/time/trajectories" in metrics
    assert (tmp_path / "trajectories" / "train" / "step_000007.jsonl").exists()


def test_what_nobody_could_judge_is_not_wrong_in_verls_own_metrics(module):
    infos = {"acc": [1.0, 1.0, None, None], "reward": [1.2, 1.2, 0.0, 0.0]}
    stock = module.PPOTrainerSync._val_metrics_update(
        None, ["s"] * 4, ["a", "a", "b", "b"], infos, [], {("s", "a"): 2, ("s", "b"): 2}
    )
    ours = module._of_scored(stock)
    assert stock["val-core/s/acc/mean@2"] == 0.5 and ours["val-core/s/acc/mean@2"] == 1.0
    assert {name for name in stock if stock[name] != ours[name]} <= {name for name in stock if "/acc/" in name}


def test_a_batch_without_a_score_is_no_update(queue, module, monkeypatch):
    trainer = make_trainer(module)
    monkeypatch.setattr(trainer, "_at", lambda phase: None, raising=False)
    monkeypatch.setattr(module.PPOTrainerSync, "_update_actor", lambda *_: pytest.fail("updated"))
    batch, _ = put(queue, "silent", {"x": [None] * N})
    trainer._compute_advantage(batch, {})
    metrics = {}
    assert trainer._update_actor(batch, metrics) is batch and metrics == {"longvt/update_skipped": 1.0}


def test_a_reward_that_says_stop_ends_the_run(queue, module):
    batch, _ = put(queue, "stop", {"x": [1.0, 0.0, 1.0, 0.0]})
    stopped = {"reward_extra_info": reward(None, stop=True, reason="20 of the last 20 verdicts failed")}
    fields = module.get_rows(batch, ["extra_fields"])["extra_fields"]
    from verl.utils.tensordict_utils import get_tensordict

    queue.kv_batch_put(batch.keys, "stop", fields=get_tensordict({"extra_fields": [stopped, *fields[1:]]}))
    with pytest.raises(JudgeError, match="20 of the last 20"):
        make_trainer(module)._compute_advantage(batch, {})


@pytest.mark.parametrize("metric", ["reward", "acc"])
def test_group_filtering_compares_scored_trajectories_alone(queue, module, metric):
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

    from longvt_plugins.trainer.group_filter import install

    config = compose_recipe("longvt_demo")
    buffer = ReplayBuffer("sync", config, None, "drop", {}, refill_fn=print, filter_groups_metric=metric,
                          train_batch_size=4, gen_batch_size=1)  # fmt: skip
    partition = f"train-{metric}"
    groups = {
        "differ": [1.0, 0.0, None, 1.0],
        "equal": [1.0, 1.0, None, 1.0],
        "zero": [0.0, 0.0, 0.0, 0.0],
        "alone": [None, None, 1.0, None],
        "silent": [None] * N,
    }
    batch, _ = put(queue, partition, groups)
    buffer.partitions[partition] = {key: {} for key in batch.keys}
    buffer.finished_keys[partition] = set(groups)
    if metric == "reward":
        assert buffer._dapo_filtered_keys(partition)[0] == {"zero", "silent"}, "stock: an abstention's 0 is a reward"
        buffer._dapo_classification_cache.clear()
    install(buffer)
    ours, counts = buffer._dapo_filtered_keys(partition)
    assert ours == {"equal", "zero", "alone", "silent"} and sum(counts.values()) == 4
    buffer.finished_keys[partition] = {"equal"}
    assert buffer._dapo_filtered_keys(partition)[0] == {"equal"}
    assert buffer._dapo_filtered_keys("val") == (set(), {})


def test_a_dead_engine_ends_the_search_for_groups_with_a_signal(queue, module):
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

    from longvt_plugins.trainer.group_filter import install

    buffer = ReplayBuffer("sync", compose_recipe("longvt_demo"), None, "drop", {}, refill_fn=print,
                          filter_groups_metric="acc", train_batch_size=2, gen_batch_size=1)  # fmt: skip
    install(buffer)

    def finish(*names, scores=(FAULT, FAULT)):
        batch, _ = put(queue, "train-dead", dict.fromkeys(names, scores))
        buffer.partitions["train-dead"] |= {key: {} for key in batch.keys}
        buffer.finished_keys["train-dead"] |= set(names)
        return buffer._dapo_filtered_keys("train-dead")[0]

    assert "one" in finish("one")
    assert "two" not in finish("two", scores=(1.0, 0.0)), "between the faulted groups one came through"
    assert "three" in finish("three")
    with pytest.raises(RolloutError, match="all 4 trajectories of 2 groups: faulted, the first by EngineDeadError"):
        finish("four")


def test_a_wrong_option_of_the_trainer_stops_before_the_run(module):
    for overrides, why in (
        (["+trainer.longvt.components={accuracy: 1}"], "accuracy"),
        (["+trainer.longvt.floder=x"], "floder"),
    ):
        with pytest.raises(ConfigError, match=why):
            module.LongVTTrainer(compose_recipe("longvt_demo", overrides))
