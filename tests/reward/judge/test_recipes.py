"""The flags of the judge recipes, read by the servers' own parsers."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

RECIPES = Path(__file__).parents[3] / "recipes" / "judge"
QWEN_LIMIT = 32_768


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_says_how_to_check_it_and_stays_within_the_model(path):
    text, options = path.read_text(), yaml.safe_load(path.read_text())
    assert "# Check " in text
    assert f"--config recipes/judge/{path.name}" in text
    assert options.get("max-model-len", options.get("context-length")) <= QWEN_LIMIT


@pytest.mark.full
@pytest.mark.parametrize("path", sorted(RECIPES.glob("vllm_*.yaml")), ids=lambda path: path.stem)
def test_vllm_knows_every_flag(path):
    from vllm.entrypoints.openai.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parsed = make_arg_parser(FlexibleArgumentParser()).parse_args(["serve", "--config", str(path)])
    options = yaml.safe_load(path.read_text())
    assert parsed.model == options["model"] and parsed.max_model_len == options["max-model-len"]
    assert parsed.served_model_name == [options["served-model-name"]]


@pytest.mark.full
@pytest.mark.parametrize("path", sorted(RECIPES.glob("sglang_*.yaml")), ids=lambda path: path.stem)
def test_sglang_knows_every_flag(path):
    import argparse

    pytest.importorskip("sglang", reason="pip install --no-deps sglang")
    from sglang.srt.server_args import ServerArgs
    from sglang.srt.utils.server_args_config_parser import ConfigArgumentMerger

    parser = argparse.ArgumentParser()
    ServerArgs.add_cli_args(parser)
    merged = ConfigArgumentMerger(parser=parser).merge_config_with_args(["--config", str(path)])
    options = yaml.safe_load(path.read_text())
    parsed = parser.parse_args(merged)
    assert parsed.model_path == options["model-path"] and parsed.context_length == options["context-length"]
