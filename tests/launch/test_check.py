"""Planted faults are each reported by name, and nothing else is; the shipped recipes have none."""

import json
import shutil
from pathlib import Path

import pytest

from longvt_plugins.cli.main import main
from longvt_plugins.errors import ConfigError
from longvt_plugins.launch.check import examine
from longvt_plugins.tokens.profiles import stamp

RECIPES = Path(__file__).parents[2] / "recipes"
ROLLOUT, ACTOR = "actor_rollout_ref.rollout", "actor_rollout_ref.actor"
KWARGS = "reward.custom_reward_function.reward_kwargs"

FAULTS = [
    (["trainer.expermient_name=x"], "unknown-key", "Did you mean trainer.experiment_name?"),
    (["+data.train_bach_size=4"], "unknown-key", "Did you mean data.train_batch_size?"),
    (["trainer.rollout_data_dri=x"], "unknown-key", "Did you mean trainer.rollout_data_dir?"),
    (["data.longvt.picture_pixels=9999"], "needs-plus", "+data.longvt.picture_pixels=9999"),
    ([f"{ROLLOUT}.multi_turn.max_tool_call=5"], "moved-key", "Use actor_rollout_ref.rollout.custom.longvt.max_calls."),
    (["+ray_init.num_cpus=4"], "moved-key", "Use ray_kwargs.ray_init.num_cpus."),
    (["custom_reward_function.path=mine.py"], "dead-key", "Use reward.custom_reward_function."),
    (["reward_model.reward_manager=dapo"], "dead-key", "reward.reward_manager"),
    (["data.return_raw_chat=false"], "dead-key", "nothing in verl 0.9.1 reads it"),
    (["data.truncation=left"], "dead-key", "data.longvt.shrink"),
    (["trainer.nnodes=[1"], "bad-override", "trainer.nnodes=[1"),
    (["longvt.media=${longvt.medium}"], "unresolved-value", "longvt.media=${longvt.medium}"),
    ([f"{ROLLOUT}.multi_turn.tool_config_path=tools/none.yaml"], "missing-file", "tools/none.yaml"),
    (["reward.custom_reward_function.path=pkg://longvt_plugins.rewards"], "missing-file", "longvt_plugins.rewards"),
    ([f"{ACTOR}.ppo_mini_batch_size=32"], "batch-size", "ppo_mini_batch_size=32, train_batch_size=16"),
    (["trainer.nnodes=3"], "batch-size", "cannot be shared equally by 24 GPUs"),
    ([f"{ACTOR}.ulysses_sequence_parallel_size=3"], "batch-size", "does not divide 8 GPUs"),
    (["actor_rollout_ref.model.use_remove_padding=false"], "batch-size", "use_remove_padding=true"),
    ([f"{ROLLOUT}.tensor_model_parallel_size=3"], "batch-size", "a rollout replica of 3 GPUs"),
    ([f"{ROLLOUT}.n=1"], "group-of-one", "nothing is learnt"),
    ([f"{ACTOR}.ppo_micro_batch_size_per_gpu=null"], "micro-batch", "actor.ppo_micro_batch_size"),
    ([f"{ROLLOUT}.max_model_len=32768"], "context-length", "Set it to 52384."),
    ([f"{ROLLOUT}.limit_images=256"], "image-limit", "Set it to 416."),
    (["data.longvt.shrink=false", "data.max_prompt_length=8192"], "prompt-length", "16896 tokens"),
    (["data.max_response_length=2048"], "crop-length", "no crop is whole"),
    ([f"+{ROLLOUT}.custom.longvt.max_cals=3"], "loop-option", "max_cals"),
    ([f"+{KWARGS}.anwser=1"], "reward-option", "anwser"),
    (["+data.longvt.overview.max_frame=3"], "dataset-option", "max_frame"),
    (["data.longvt.overview.fps=0"], "dataset-option", "fps=0"),
    (["+trainer.longvt.folders=x"], "trainer-option", "folders"),
    (["data.longvt.profile=frames"], "media-profile", "known are frames-time"),
    (["trainer.v1.trainer_mode=longvt_async"], "trainer-mode", "Did you mean longvt_sync?"),
    (["trainer.v1.trainer_mode=sync"], "trainer-mode", "scores of 0"),
    ([f"{ROLLOUT}.agent.default_agent_loop=longvt_agnet"], "agent-loop", "Did you mean longvt_agent?"),
    (["reward.custom_reward_function.path=null"], "no-reward", "pkg://longvt_plugins.reward"),
    (["algorithm.filter_groups.metric=accuracy"], "filter-metric", "acc"),
    ([f"{ACTOR}.use_dynamic_bsz=true", f"{ACTOR}.ppo_max_token_len_per_gpu=8192"], "micro-batch", "Set it to 13096"),
    ([f"{ROLLOUT}.name=vlm"], "engine", "Did you mean vllm?"),
    (["+inference=sglang", "data.longvt.profile=native"], "engine", "Use frames-time, or vllm."),
    ([f"{ACTOR}.ulysses_sequence_parallel_size=1", f"{ACTOR}.ppo_micro_batch_size_per_gpu=2"], "memory", "logits"),
    ([f"{ROLLOUT}.gpu_memory_utilization=0.2"], "memory", "gives the engine 16 GiB"),
    ([f"{ROLLOUT}.gpu_memory_utilization=0.97"], "memory", "Lower rollout.gpu_memory_utilization"),
    (
        [f"{ROLLOUT}.free_cache_engine=false", f"{ROLLOUT}.gpu_memory_utilization=0.7"],
        "memory",
        "free_cache_engine=true",
    ),
]

SFT_FAULTS = [
    (["trainer_args.learning_rat=1"], "unknown-key", "Did you mean trainer_args.learning_rate?"),
    (
        ["dataset_config.extra_kwargs.longvt.tools=tools.yaml"],
        "needs-plus",
        "+dataset_config.extra_kwargs.longvt.tools",
    ),
    (["+dataset_config.extra_kwargs.longvt.profil=x"], "dataset-option", "profil"),
    (["dataset_config.extra_kwargs.longvt.profile=frames"], "dataset-option", "known are frames-time"),
    (["dataset_config.processor_config.processor_type=qwen2_5_vl"], "processor-type", "longvt_qwen2_5_vl"),
    (["dataset_config.dataset_type=vision"], "dataset-type", "Set it to longvt."),
    (["trainer_args.bf16=false"], "sft-setting", "float16"),
    (["trainer_args.use_rmpad=false"], "sft-setting", "use_liger_kernel"),
    (["trainer_args.max_steps=-1"], "sft-setting", "must be said"),
    (["trainer_type=hf_trainer"], "sft-setting", "fsdp2_trainer"),
    (["trainer_args.run_name=${nothing}"], "unresolved-value", "nothing"),
]


@pytest.mark.parametrize(("overrides", "name", "said"), FAULTS, ids=[f"{n}-{o[-1][-24:]}" for o, n, _ in FAULTS])
def test_a_planted_fault_is_the_one_reported(overrides, name, said):
    (finding,) = examine("longvt_7b_rl", overrides, files=False).findings
    assert finding.name == name
    assert said in str(finding)


@pytest.mark.parametrize(("overrides", "name", "said"), SFT_FAULTS, ids=[o[-1][-28:] for o, _, _ in SFT_FAULTS])
def test_a_planted_fault_of_an_sft_recipe_is_the_one_reported(overrides, name, said):
    (finding,) = examine("longvt_7b_sft", overrides, files=False).findings
    assert finding.name == name
    assert said in str(finding)


def test_frames_that_qwen3_vl_would_enlarge_are_refused_in_sft_as_in_rl():
    small = ["dataset_config.video_min_pixels=3136", "dataset_config.video_max_pixels=50176"]
    (finding,) = examine("longvt_qwen3vl_8b_sft", small, files=False).findings
    assert finding.name == "dataset-option" and "is 65536 at least" in str(finding)
    assert examine("longvt_7b_sft", small, files=False).findings == []


def test_several_faults_are_reported_together():
    faults = ["trainer.expermient_name=x", "data.truncation=left", "trainer.nnodes=3", f"+{KWARGS}.anwser=1"]
    found = [finding.name for finding in examine("longvt_7b_rl", faults, files=False).findings]
    assert found == ["unknown-key", "dead-key", "batch-size", "reward-option"]


def test_a_checkpoint_of_another_media_profile_is_named(demo, tmp_path):
    shutil.copytree(demo.folder / "model", tmp_path / "model")
    stamp(tmp_path / "model", "native")
    overrides = [*demo.overrides, f"actor_rollout_ref.model.path={tmp_path}/model"]
    (finding,) = examine("longvt_demo", overrides).findings
    assert finding.name == "media-profile" and "made with media profile native" in str(finding)


def test_a_broken_tool_configuration_is_named(tmp_path):
    for text, said in (("tools: [{class_name: x.CropVideoTool}]", "KeyError"), ("tools: [", "ParserError")):
        (tmp_path / "tools.yaml").write_text(text)
        (finding,) = examine(
            "longvt_7b_rl", [f"{ROLLOUT}.multi_turn.tool_config_path={tmp_path}/tools.yaml"], False
        ).findings
        assert finding.name == "tool-option" and said in finding.why


@pytest.mark.parametrize(
    "name", sorted(path.stem for stage in ("rl", "sft") for path in (RECIPES / stage).glob("*.yaml"))
)
def test_shipped_recipes_pass(name, monkeypatch):
    monkeypatch.setenv("VERL_PLATFORM", "nvidia")
    assert examine(name, files=False).findings == []


@pytest.mark.parametrize("ablation", sorted(path.stem for path in (RECIPES / "rl" / "ablation").glob("*.yaml")))
def test_ablations_pass(ablation, monkeypatch):
    monkeypatch.setenv("VERL_PLATFORM", "nvidia")
    assert examine("longvt_7b_rl_multinode", [f"+ablation={ablation}"], files=False).findings == []


@pytest.mark.parametrize("name", ["longvt_7b_rl", "longvt_7b_rl_multinode", "longvt_qwen3vl_8b_rl"])
def test_rollouts_by_sglang_pass(name, monkeypatch):
    monkeypatch.setenv("VERL_PLATFORM", "nvidia")
    assert examine(name, ["+inference=sglang", "+ablation=parity"], files=False).findings == []


def test_an_sft_recipe_of_ones_own_is_known_as_one(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("defaults: [longvt_7b_sft, _self_]\ntrainer_args: {lerning_rate: 1}\n")
    assert [f.name for f in examine(str(mine), files=False).findings] == ["unknown-key"]


def test_files_of_an_sft_recipe_are_looked_for():
    found = examine("longvt_7b_rft", ["model_config.load_from_pretrained_path=a/b/c"]).findings
    assert {f.name for f in found} == {"missing-file"}
    assert {f.what.partition("=")[0] for f in found} == {
        "model_config.load_from_pretrained_path",
        "dataset_config.processor_config.processor_name",
        "dataset_config.datasets[0].path",
        "dataset_config.datasets[0].data_folder",
    }


def test_data_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("VERL_PLATFORM", "nvidia")
    found = examine("longvt_7b_rl", ["longvt.run=nowhere", "longvt.data=nowhere", "longvt.model=a/b/c"]).findings
    assert {f.name for f in found} == {"missing-file"}
    keys = {f.what.partition("=")[0] for f in found}
    assert keys >= {"data.train_files", "data.val_files", "actor_rollout_ref.model.path"}
    assert not any(
        "model.path" in f.what for f in examine("longvt_7b_rl", ["longvt.model=Qwen/Qwen2.5-VL-7B"]).findings
    )


def test_a_kl_term_without_a_gpu_is_named(monkeypatch):
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    assert [f.name for f in examine("longvt_7b_rl", ["+ablation=parity"], files=False).findings] == ["hardware"]


def test_a_misspelt_recipe_gets_a_suggestion():
    with pytest.raises(ConfigError, match=r"Did you mean longvt_7b_rl\?"):
        examine("longvt_7b_lr")


def test_the_command(capsys):
    assert main(["check-recipe", "longvt_7b_rl", "--no-files", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] and said["findings"] == [] and said["notes"][0].startswith("memory of each GPU of 80 GiB")
    assert main(["check-recipe", "longvt_7b_rl", "--no-files", "--gpu-memory-gib", "40"]) == 1
    assert capsys.readouterr().out.startswith("memory: rollout.gpu_memory_utilization gives the engine 16 GiB: ")
    assert main(["check-recipe", "longvt_7b_rl", "trainer.nnodes=3", "--no-files"]) == 1
    line, _ = capsys.readouterr().out.splitlines()
    assert line.startswith("batch-size: train_batch_size=16 * n=16: cannot be shared equally by 24 GPUs. ")
    assert main(["check-recipe", "nope"]) == 2


def test_real_rows_are_counted(demo, monkeypatch):
    """As the run counts them: those that do not fit are a finding, and how long the others are is said."""
    done = examine("longvt_demo", demo.overrides)
    assert done.findings == []
    assert done.notes[0].startswith("train rows: 5 counted, prompts of 3") and "0 shrunk, 0 dropped" in done.notes[0]
    assert done.notes[1].startswith("val rows: 5 counted")
    # Those of 7 to 9 s and 3 to 5 s are a token shorter.
    longest = int(done.notes[0].partition(" to ")[2].partition(" ")[0])
    short = [*demo.overrides, f"data.max_prompt_length={longest - 1}"]
    done = examine("longvt_demo", short)
    assert {finding.name for finding in done.findings} == {"rows"}
    assert f"do not fit into data.max_prompt_length={longest - 1}" in done.findings[0].why
    shrunk = examine("longvt_demo", [*short, "+data.longvt.shrink=true"])
    assert shrunk.findings == [] and " 0 shrunk" not in shrunk.notes[0]
    dropped = examine("longvt_demo", [*short, "data.filter_overlong_prompts=true"])
    assert dropped.findings == [] and " 0 dropped" not in dropped.notes[0]


def test_a_large_file_is_sampled(demo, monkeypatch):
    monkeypatch.setattr("longvt_plugins.launch.rows.SAMPLE", 2)
    assert examine("longvt_demo", demo.overrides).notes[0].startswith("train rows: 2 counted, a sample")


def test_rows_with_media_that_are_gone_are_named(demo, tmp_path):
    (finding, other) = examine("longvt_demo", [*demo.overrides, f"data.longvt.video_root={tmp_path}"]).findings
    assert finding.name == other.name == "rows" and "cannot be used" in finding.why


def test_rows_are_not_counted_without_a_checkpoint(demo):
    done = examine("longvt_demo", [*demo.overrides, "actor_rollout_ref.model.path=Qwen/Qwen2.5-VL-7B-Instruct"])
    assert done.findings == [] and "tokenizer is not here" in done.notes[0]
