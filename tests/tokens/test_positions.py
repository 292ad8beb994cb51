"""The position rule equals vLLM's own code on random prompts; where transformers and lmms-engine differ is pinned."""

from __future__ import annotations

from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch

from longvt_plugins.errors import ConfigError, DataError
from longvt_plugins.tokens.positions import Family, PositionSpec, position_ids
from longvt_plugins.tokens.profiles import PROFILES

TEXT, START, END, IMAGE, VIDEO = 7, 1, 2, 3, 4
SPECS = {name: PositionSpec(name, IMAGE, VIDEO) for name in ("qwen2_5_vl", "qwen3_vl")}
CONFIG = SimpleNamespace(
    image_token_id=IMAGE,
    video_token_id=VIDEO,
    vision_start_token_id=START,
    vision_end_token_id=END,
    vision_config=SimpleNamespace(spatial_merge_size=2, tokens_per_second=2),
)


class Prompt:
    """Random text, pictures and videos of one family, as its processor would lay them out."""

    def __init__(self, family: str, seed: int, kinds: tuple[str, ...] = ("text", "image", "video")):
        rng = np.random.default_rng(seed)
        self.ids: list[int] = []
        self.media: list[tuple[str, int, list[int], float]] = []
        for kind in rng.choice(kinds, size=rng.integers(1, 9)):
            if kind == "text":
                self.ids += [TEXT] * int(rng.integers(1, 20))
                continue
            frames = 1 if kind == "image" else int(rng.integers(1, 7))
            height, width = (2 * int(n) for n in rng.integers(1, 7, size=2))
            grid, tokens = [frames, height, width], height * width // 4
            offset = len(self.ids) + 1
            if kind == "image":
                self.ids += [START, *[IMAGE] * tokens, END]
            elif family == "qwen2_5_vl":
                self.ids += [START, *[VIDEO] * (frames * tokens), END]
            else:
                offset = len(self.ids)
                for _ in range(frames):
                    self.ids += [*[TEXT] * int(rng.integers(2, 6)), START, *[VIDEO] * tokens, END]
            self.media.append((str(kind), offset, grid, float(rng.choice([0.1, 0.25, 0.3, 0.5, 1.0, 1.4, 2.0, 4.7]))))

    def grids(self, kind: str) -> list[list[int]] | None:
        return [grid for k, _, grid, _ in self.media if k == kind] or None

    @property
    def seconds(self) -> list[float]:
        return [seconds for kind, _, _, seconds in self.media if kind == "video"]

    def ours(self, family: str) -> np.ndarray:
        return position_ids(self.ids, self.grids("image"), self.grids("video"), self.seconds, SPECS[family])

    def batch(self) -> dict:
        ids = torch.tensor([self.ids])
        grids = {kind: self.grids(kind) for kind in ("image", "video")}
        return {
            "input_ids": ids,
            **{f"{kind}_grid_thw": None if g is None else torch.tensor(g) for kind, g in grids.items()},
            "attention_mask": torch.ones_like(ids),
        }

    def transformers(self, model) -> np.ndarray:
        batch = self.batch()
        kinds = (batch["input_ids"] == IMAGE).int() + 2 * (batch["input_ids"] == VIDEO).int()
        bound = SimpleNamespace(config=CONFIG)
        bound.get_vision_position_ids = lambda *a, **k: model.get_vision_position_ids(bound, *a, **k)
        seconds = torch.tensor(self.seconds) if self.seconds else None
        return model.get_rope_index(bound, mm_token_type_ids=kinds, second_per_grid_ts=seconds, **batch)[0][
            :, 0
        ].numpy()


def features(prompt: Prompt) -> list[SimpleNamespace]:
    """What vLLM keeps of the media of a request."""
    held = lambda value: SimpleNamespace(data=torch.tensor(value))  # noqa: E731
    return [
        SimpleNamespace(
            modality=kind,
            mm_position=SimpleNamespace(offset=offset),
            data={f"{kind}_grid_thw": held(grid), "second_per_grid_ts": held(seconds)},
        )
        for kind, offset, grid, seconds in prompt.media
    ]


@pytest.fixture(scope="module")
def vllm_positions():
    from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration
    from vllm.model_executor.models.qwen3_vl import Qwen3VLForConditionalGeneration

    def qwen2_5_vl(prompt: Prompt) -> np.ndarray:
        model = SimpleNamespace(config=CONFIG)
        model.iter_mm_grid_thw = lambda f: Qwen2_5_VLForConditionalGeneration.iter_mm_grid_thw(model, f)
        get = Qwen2_5_VLForConditionalGeneration.get_mrope_input_positions
        return get(model, prompt.ids, features(prompt))[0].numpy()

    def qwen3_vl(prompt: Prompt) -> np.ndarray:
        get = Qwen3VLForConditionalGeneration._get_mrope_input_positions
        return get(prompt.ids, features(prompt), CONFIG)[0].numpy()

    return {"qwen2_5_vl": qwen2_5_vl, "qwen3_vl": qwen3_vl}


@pytest.mark.parametrize("family", SPECS)
def test_it_is_what_vllm_computes(family, vllm_positions):
    for seed in range(300):
        prompt = Prompt(family, seed)
        np.testing.assert_array_equal(prompt.ours(family), vllm_positions[family](prompt), err_msg=f"seed {seed}")


@pytest.mark.parametrize("family", SPECS)
def test_transformers_agrees_on_pictures(family):
    from transformers import Qwen2_5_VLModel, Qwen3VLModel

    model = {"qwen2_5_vl": Qwen2_5_VLModel, "qwen3_vl": Qwen3VLModel}[family]
    for seed in range(50):
        prompt = Prompt(family, seed, ("text", "image"))
        np.testing.assert_array_equal(prompt.ours(family), prompt.transformers(model), err_msg=f"seed {seed}")


def test_transformers_agrees_on_videos_of_qwen3_vl():
    from transformers import Qwen3VLModel

    for seed in range(50):
        prompt = Prompt("qwen3_vl", seed)
        np.testing.assert_array_equal(
            prompt.ours("qwen3_vl"), prompt.transformers(Qwen3VLModel), err_msg=f"seed {seed}"
        )


def one_video(seconds: float) -> Prompt:
    """A word, a video of 3 grids of 2 x 2 tokens, a word."""
    prompt = Prompt("qwen2_5_vl", 0, ("text",))
    prompt.ids = [TEXT, START, *[VIDEO] * 12, END, TEXT]
    prompt.media = [("video", 2, [3, 4, 4], seconds)]
    return prompt


def test_where_others_differ_on_videos_of_qwen2_5_vl():
    """The day one of these fails, upstream has changed: compare again and correct the docstring of the rule."""
    from lmms_engine.models.common_ops.rope import qwen2_5_vl_rope_index
    from transformers import Qwen2_5_VLModel

    prompt = one_video(1.5)
    times = lambda positions: positions[0, 2:14:4].tolist()  # noqa: E731
    ours, theirs = prompt.ours("qwen2_5_vl"), prompt.transformers(Qwen2_5_VLModel)
    assert times(ours) == [2, 5, 8] and ours[:, 14:].tolist() == [[9, 10]] * 3
    assert times(theirs) == [2, 4, 6] and theirs[:, 14:].tolist() == [[4, 5]] * 3
    batch = prompt.batch() | {"second_per_grid_ts": torch.tensor([1.5])}
    engine = qwen2_5_vl_rope_index(SimpleNamespace(config=CONFIG), **batch)[0][:, 0].numpy()
    assert times(engine) == [2, 4, 6] and engine[:, 14:].tolist() == [[7, 8]] * 3


@pytest.mark.parametrize(
    ("ids", "images", "seconds", "says"),
    [
        ([START, IMAGE, END], None, [], "there is no image for this placeholder"),
        ([START, IMAGE, IMAGE, END], [[1, 4, 4]], [], "needs 4 placeholder tokens and has 2"),
        ([START, IMAGE, IMAGE], [[1, 4, 4]], [], "needs 4 placeholder tokens and has 2"),
        ([TEXT], [[1, 4, 4]], [], "no placeholder: {'image': 1, 'video': 0}"),
        ([TEXT], None, [1.0], "0 videos: seconds per grid are known for 1"),
    ],
)
def test_ids_that_do_not_match_the_media_are_refused(ids, images, seconds, says):
    with pytest.raises(DataError) as caught:
        position_ids(ids, images, None, seconds, SPECS["qwen2_5_vl"])
    assert says in str(caught.value)


def test_the_spec_comes_from_the_checkpoint(demo):
    from transformers import AutoConfig, LlamaConfig

    config = AutoConfig.from_pretrained(demo.folder / "model")
    spec = PositionSpec.of_config(config)
    assert (spec.family, spec.merge_size, spec.tokens_per_second) == ("qwen2_5_vl", 2, 2)
    with pytest.raises(ConfigError, match="llama"):
        PositionSpec.of_config(LlamaConfig())


def test_video_tokens_are_offered_where_the_rule_is_known():
    assert set(PROFILES["native"].model_types) <= set(get_args(Family))
