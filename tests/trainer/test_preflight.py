"""What cannot work is refused before a run costs anything."""

from pathlib import Path

import pytest

from longvt_plugins.errors import ConfigError, ProfileError
from longvt_plugins.registry import packaged_path
from longvt_plugins.tokens.profiles import check_stamp, stamp
from longvt_plugins.trainer.preflight import check_agents, check_algorithm, check_attention, preflight


def test_a_good_recipe_passes(demo, tmp_path):
    assert preflight(demo.compose(), tmp_path / "new").name == "frames-time"


@pytest.mark.parametrize(
    ("override", "error", "said"),
    [
        ("+data.longvt.profile=frames", ProfileError, "known are frames-time"),
        (
            "actor_rollout_ref.rollout.multi_turn.tool_config_path=${longvt.path:tools/crop_video.yaml}",
            ConfigError,
            "crop_video in .*: max_pixels=50177",
        ),
        ("+actor_rollout_ref.rollout.custom.longvt.max_frame=3", ConfigError, "max_frame'"),
        ("+reward.custom_reward_function.reward_kwargs.anwser=1", ConfigError, "anwser"),
        ("+reward.custom_reward_function.reward_kwargs.judge={endpoints: [ftp://x]}", ConfigError, "ftp"),
        ("actor_rollout_ref.actor.use_kl_loss=true", ConfigError, "KL term without a GPU"),
        ("reward.reward_manager.name=dapo", ConfigError, "does not hand the transcript"),
        ("algorithm.adv_estimator=gae", ConfigError, "a critic"),
        ("critic.enable=true", ConfigError, "a critic"),
        ("actor_rollout_ref.model.path=/nowhere", ConfigError, "model.path=/nowhere"),
    ],
)
def test_what_cannot_work_is_named(demo, tmp_path, override, error, said):
    if "crop_video.yaml" in override:
        tools = tmp_path / "tools.yaml"
        tools.write_text(Path(packaged_path("tools/crop_video.yaml")).read_text().replace("50176", "50177"))
        override = f"actor_rollout_ref.rollout.multi_turn.tool_config_path={tools}"
    with pytest.raises(error, match=said):
        preflight(demo.compose(override), tmp_path)


@pytest.mark.parametrize("override", ["algorithm.use_kl_in_reward=true", "algorithm.adv_estimator=rloo"])
def test_components_leave_no_room_for_other_advantages(demo, override):
    components = "+trainer.longvt.components={acc: 1.0}"
    check_algorithm(demo.compose(components))
    check_algorithm(demo.compose(override))
    with pytest.raises(ConfigError, match=r"trainer.longvt.components with adv_estimator="):
        check_algorithm(demo.compose(components, override))


def test_flash_attention_is_missed_before_the_workers_start(demo, monkeypatch):
    monkeypatch.setenv("VERL_PLATFORM", "nvidia")
    sdpa = demo.compose().actor_rollout_ref.model
    model = {**sdpa, "override_config": {}}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_attention(sdpa)
    with pytest.raises(ConfigError, match=r"needs flash-attn.*pip install flash-attn==2\.8\.3"):
        check_attention(model)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: "there")
    check_attention(model)


def test_rows_of_other_agent_loops_are_refused():
    check_agents([])
    check_agents({"longvt_agent"})
    with pytest.raises(ConfigError, match=r"rows with agent_name \['single_turn_agent'\]"):
        check_agents({"longvt_agent", "single_turn_agent"})


def test_profiles_do_not_mix(demo, tmp_path):
    stamp(tmp_path, "longvt-compat")
    with pytest.raises(ProfileError, match="made with media profile longvt-compat, and this run uses frames-time"):
        preflight(demo.compose(), tmp_path)
    assert preflight(demo.compose("+data.longvt.profile=longvt-compat"), tmp_path).name == "longvt-compat"


def test_a_damaged_stamp_is_not_ignored(tmp_path):
    (tmp_path / "longvt_profile.json").write_text("{")
    with pytest.raises(ProfileError, match="not a profile stamp"):
        check_stamp(tmp_path, "frames-time")
    check_stamp(tmp_path / "none", "frames-time")
