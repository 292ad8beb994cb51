"""The needle task's demonstrations are truthful: the demonstrator says what it was shown, and only of training rows."""

import json
import random
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from data_prep.needle_chains import STYLES, code_of, demonstrate, demonstrations, shows_digit
from longvt_plugins.launch.compose import compose_recipe
from longvt_plugins.tasks.needle import SIZES
from longvt_plugins.tasks.needle_files import write_needle
from longvt_plugins.testing.teach import Setting


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("needle")
    write_needle(folder, SIZES["demo"])
    return Setting.of(compose_recipe("longvt_pipeline_demo_rl", [f"longvt.data={folder}"]))


def windows(chain) -> list[tuple[float, float]]:
    calls = [json.loads(text.split("<tool_call>")[1].split("</tool_call>")[0]) for text in said(chain)[:-1]]
    return [(call["arguments"]["start_time"], call["arguments"]["end_time"]) for call in calls]


def said(chain) -> list[str]:
    return [message["content"][0]["text"] for message in chain.messages if message["role"] == "assistant"]


@pytest.mark.parametrize("style", STYLES)
def test_it_looks_until_it_was_shown_the_digit(setting, style):
    rng = random.Random(1)
    for row in setting.rows[:6]:
        chain = demonstrate(setting, row, style, rng, "x")
        (scene,) = row["extra_info"]["segments"]
        looked = windows(chain)
        if style == "guess":
            assert looked == []
            continue
        seen = [shows_digit(setting, row, window) for window in looked]
        assert seen[-1] and not any(seen[:-1])
        assert said(chain)[-1].endswith(f"<answer>{row['reward_model']['ground_truth']}</answer>")
        overlaps = min(looked[0][1], scene[1]) > max(looked[0][0], scene[0])
        exact = looked[0] == tuple(scene)
        assert (overlaps, exact) == {"right": (True, True), "wide": (True, False), "elsewhere": (False, False)}[style]


def test_all_rows_are_of_train_in_all_styles_and_paths_are_relative(setting):
    chains = list(demonstrations(setting, each=2))
    assert {chain.id.split("_")[1] for chain in chains} == {str(row["extra_info"]["index"]) for row in setting.rows}
    assert set(Counter(chain.id.split("_")[-1] for chain in chains)) == set(STYLES)
    urls = {i["frames"]["url"] for c in chains for m in c.messages for i in m["content"] if i["type"] == "frames"}
    assert urls and all(url.startswith("train_") for url in urls)


def test_no_code_of_held_out_questions_is_taught(setting):
    held_out = pq.read_table(f"{setting.video_root}/held_out.parquet").to_pylist()
    assert not {code_of(row) for row in held_out} & {code_of(row) for row in setting.rows}


def test_the_recipe_has_the_tool_and_overview_that_the_task_writes(setting):
    written = yaml.safe_load(Path(setting.video_root, "crop_video.yaml").read_text())["tools"][0]
    evaluation = yaml.safe_load(Path(setting.video_root, "evaluation.yaml").read_text())
    assert setting.tool_schema == written["tool_schema"]
    assert asdict(setting.crop.policy) == {key: value for key, value in written["config"].items() if key != "type"}
    assert asdict(setting.overview) == evaluation["overview"]
