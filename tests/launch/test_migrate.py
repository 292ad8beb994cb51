"""A launch script with LongVT's published flags becomes a recipe that passes check-recipe."""

import json

import pytest
import yaml

from longvt_plugins.cli.main import main
from longvt_plugins.errors import ConfigError
from longvt_plugins.launch.check import examine
from longvt_plugins.launch.compose import compose_recipe
from longvt_plugins.launch.migrate import migrate
from longvt_plugins.reward import RewardConfig

PUBLISHED = r"""#!/bin/bash
set -x
# Where things are
export DATA=/storage/longvt
MODEL="${DATA}/sft"   # the SFT checkpoint
python3 -m verl.trainer.main_ppo \
    --config-name='longvt' \
    algorithm.adv_estimator=grpo data.train_batch_size=16 \
    data.train_files=[$DATA/a.parquet,$DATA/b.parquet] data.val_files=$DATA/val.parquet \
    data.max_prompt_length=36000 data.max_response_length=16384 \
    data.filter_overlong_prompts=False data.truncation='left' \
    data.return_raw_chat=True data.return_multi_modal_inputs=False +data.sglang_video=True \
    actor_rollout_ref.model.path=$MODEL actor_rollout_ref.actor.optim.lr=1e-6 \
    actor_rollout_ref.actor.ppo_mini_batch_size=8 actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1 \
    actor_rollout_ref.actor.use_kl_loss=True actor_rollout_ref.actor.kl_loss_coef=0.001 \
    actor_rollout_ref.actor.kl_loss_type=low_var_kl actor_rollout_ref.actor.entropy_coeff=0 \
    actor_rollout_ref.actor.ulysses_sequence_parallel_size=4 \
    actor_rollout_ref.rollout.name=sglang actor_rollout_ref.rollout.n=16 \
    actor_rollout_ref.rollout.tensor_model_parallel_size=1 actor_rollout_ref.rollout.gpu_memory_utilization=0.4 \
    actor_rollout_ref.rollout.multi_turn.max_assistant_turns=5 \
    +actor_rollout_ref.rollout.multi_turn.max_tool_call=5 \
    actor_rollout_ref.rollout.multi_turn.tokenization_sanity_check_mode=disable \
    actor_rollout_ref.rollout.multi_turn.tool_config_path=$DATA/tools.yaml \
    custom_reward_function.path=$DATA/reward.py custom_reward_function.name=compute_score \
    +custom_reward_function.reward_kwargs.use_iou_reward=True \
    trainer.nnodes=8 trainer.n_gpus_per_node=8 trainer.experiment_name=$RUN_NAME \
    trainer.total_epochs=5 trainer.save_freq=10 trainer.test_freq=5 trainer.svae=1 "$@"
"""


def test_the_published_flags_pass_check_recipe(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VERL_PLATFORM", "nvidia")
    monkeypatch.setenv("RUN_NAME", "old")
    (tmp_path / "old.sh").write_text(PUBLISHED)
    recipe = str(tmp_path / "migrated.yaml")
    assert main(["migrate", str(tmp_path / "old.sh"), "-o", recipe, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"]
    assert examine(recipe, files=False).findings == []
    config = compose_recipe(recipe)
    assert list(config.data.train_files) == ["/storage/longvt/a.parquet", "/storage/longvt/b.parquet"]
    assert (config.actor_rollout_ref.model.path, config.trainer.experiment_name) == ("/storage/longvt/sft", "old")
    assert config.trainer.default_local_dir == "checkpoints/longvt/old"
    assert (config.trainer.nnodes, config.actor_rollout_ref.actor.use_kl_loss) == (8, True)
    reward = RewardConfig(**config.reward.custom_reward_function.reward_kwargs)
    assert reward.model_dump(exclude={"judge"}) == RewardConfig(use_iou_reward=True).model_dump(exclude={"judge"})


def test_only_differences_are_written():
    recipe = yaml.safe_load(migrate(PUBLISHED).recipe())
    assert recipe["defaults"] == ["longvt_7b_rl", "_self_"]
    assert recipe["trainer"] == {"nnodes": 8, "experiment_name": "${oc.env:RUN_NAME}"}
    assert set(recipe["data"]) == {"train_files", "val_files"}


def test_the_objective_stays_what_the_script_has():
    """The base filters groups and clips higher; a script that says nothing of it does not."""
    recipe = yaml.safe_load(migrate(PUBLISHED).recipe())
    assert recipe["algorithm"] == {"filter_groups": {"enable": False, "metric": "reward"}}
    assert recipe["actor_rollout_ref"]["actor"] == {"clip_ratio_high": 0.2, "use_kl_loss": True}
    higher = migrate(PUBLISHED.replace("trainer.svae=1", "actor_rollout_ref.actor.clip_ratio_high=0.3")).settings
    assert higher["actor_rollout_ref.actor.clip_ratio_high"] == 0.3


def test_every_key_that_is_not_copied_is_listed_with_its_reason():
    notes = migrate(PUBLISHED).notes
    kinds = {
        kind: [n.key.partition("=")[0] for n in notes if n.kind == kind] for kind in ("dead", "changed", "unknown")
    }
    assert kinds["unknown"] == ["trainer.svae"]
    assert kinds["dead"] == [
        "data.truncation",
        "data.return_raw_chat",
        "data.return_multi_modal_inputs",
        "actor_rollout_ref.rollout.multi_turn.tokenization_sanity_check_mode",
    ]
    assert {"data.sglang_video", "actor_rollout_ref.rollout.name", "custom_reward_function"} <= set(kinds["changed"])
    missing = {n.key for n in notes if n.kind == "missing"}
    assert {"--config-name=longvt", "longvt.judge", "trainer.v1.trainer_mode"} <= missing
    assert "actor_rollout_ref.rollout.custom.longvt.max_calls" not in missing


@pytest.mark.parametrize("text", ["python train.py", "python -m verl.trainer.main_ppo a=1\n" * 2, "echo 'open"])
def test_what_is_no_single_launch_is_refused(text):
    with pytest.raises(ConfigError):
        migrate(text)


def test_a_base_or_an_output_that_is_none_is_named_and_the_script_is_not_blamed(tmp_path, capsys):
    script = tmp_path / "old.sh"
    script.write_text("python -m verl.trainer.main_ppo trainer.nnodes=2")
    assert main(["migrate", str(script), "--base", "longvt_7b_lr"]) == 2
    assert "recipe longvt_7b_lr: does not compose" in (told := capsys.readouterr().err)
    assert "Did you mean longvt_7b_rl?" in told and str(script) not in told
    assert main(["migrate", str(script), "-o", str(tmp_path / "no" / "new.yaml")]) == 2
    assert f"{tmp_path / 'no' / 'new.yaml'}: cannot be written" in capsys.readouterr().err
    assert main(["migrate", str(tmp_path / "none.sh")]) == 2
    assert f"{tmp_path / 'none.sh'}: cannot be read" in capsys.readouterr().err


def test_a_variable_without_value_is_read_when_the_recipe_runs():
    settings = migrate("python -m verl.trainer.main_ppo trainer.nnodes=${NODES:-4} trainer.project_name=$P").settings
    assert settings["trainer.nnodes"] == "${oc.decode:${oc.env:NODES,4}}"
    assert settings["trainer.project_name"] == "${oc.env:P}"
