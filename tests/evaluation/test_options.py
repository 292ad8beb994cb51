"""What an options file says, with what it takes from the environment."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from longvt_plugins.errors import ConfigError
from longvt_plugins.evaluation.options import read_file
from longvt_plugins.launch.compose import compose_recipe
from longvt_plugins.reward import RewardConfig

SHIPPED = Path(__file__).parents[2] / "recipes" / "evaluation" / "longvt_7b.yaml"


@pytest.mark.parametrize("judge", [None, "http://judge:8000/v1"])
def test_the_7b_evaluation_asks_the_judge_of_the_7b_run(monkeypatch, judge):
    monkeypatch.delenv("LONGVT_JUDGE", raising=False)
    if judge:
        monkeypatch.setenv("LONGVT_JUDGE", judge)
    options, _ = read_file(SHIPPED)
    recipe = compose_recipe("longvt_7b_rl").reward.custom_reward_function.reward_kwargs
    asked = RewardConfig(**options.reward).judge.endpoints
    assert asked == RewardConfig(**OmegaConf.to_container(recipe, resolve=True)).judge.endpoints
    assert asked[0].url == judge or judge is None


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("{}", {}),
        ("sampling: {temperature: 0.7, seed: 1}", {"temperature": 0.7, "seed": 1}),
        ("sampling: {extra_body: {}}", {"extra_body": {}}),
    ],
)
def test_no_decoding_is_left_to_the_checkpoints_generation_config(tmp_path, text, changed):
    (tmp_path / "options.yaml").write_text(text)
    whole = {"temperature": 0.0, "top_p": 1.0, "extra_body": {"top_k": -1, "repetition_penalty": 1.0}}
    assert read_file(tmp_path / "options.yaml")[0].sampling == whole | changed
    assert read_file(SHIPPED)[0].sampling == read_file(None)[0].sampling == whole


def test_what_is_taken_from_nowhere_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("NOBODY_SETS_THIS", raising=False)
    (tmp_path / "options.yaml").write_text("opening: ${oc.env:NOBODY_SETS_THIS}")
    with pytest.raises(ConfigError, match=r"options\.yaml: cannot be computed .*NOBODY_SETS_THIS"):
        read_file(tmp_path / "options.yaml")
