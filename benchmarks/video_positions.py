"""Videos of Qwen2.5-VL in stock verl and vLLM: where each token stands, and what that does to probabilities.

    python benchmarks/video_positions.py [--output benchmarks/results/video_positions.md]

Positions: the same pixels with the same true times, through verl's processor and through vLLM's. Probabilities:
``longvt verify`` on a tiny checkpoint with sharpened outputs, once with stock upstream and once with this
package's two work-arounds (``upstream/verl_video_positions.py``, ``upstream/vllm_video_times.py``).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np

if not os.path.exists("/dev/nvidiactl"):
    os.environ.setdefault("VERL_PLATFORM", "cpu")
OURS = ("verl_video_positions", "vllm_video_times")
CASES = ((4, 0.5), (16, 0.5), (8, 1.0), (8, 2.0), (32, 7.0))
"""Frames, and seconds between them."""
SHARPNESS = 30.0
PARTS = ("stock", "mended")


def positions(model: str, frames: int, spacing_s: float) -> dict[str, float]:
    """Seconds between grids, and the position of the last token, on either side."""
    import torch
    from verl.utils.tokenizer import hf_processor
    from vllm.config import ModelConfig
    from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration
    from vllm.multimodal import MULTIMODAL_REGISTRY

    from longvt_plugins.tokens.media import video_metadata

    pixels = np.random.default_rng(0).integers(0, 255, (frames, 56, 84, 3), dtype=np.uint8)
    metadata = video_metadata([spacing_s * n for n in range(frames)])
    text = "<|vision_start|><|video_pad|><|vision_end|> What is it?"
    processor = hf_processor(model)
    inputs = processor(
        text=[text],
        videos=[torch.from_numpy(pixels).permute(0, 3, 1, 2)],
        video_metadata=[metadata],
        do_sample_frames=False,
        return_tensors="pt",
    )
    kinds = (inputs["input_ids"] == processor.video_token_id).long() * 2
    more = getattr(processor, "get_rope_index_kwargs", lambda _: {})(inputs)
    verls = processor.get_rope_index(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        video_grid_thw=inputs["video_grid_thw"],
        mm_token_type_ids=kinds,
        **more,
    )[0]
    config = ModelConfig(model, limit_mm_per_prompt={"video": 1}, dtype="float32")
    vllms = MULTIMODAL_REGISTRY.create_processor(config)
    items = vllms.info.parse_mm_data({"video": [(pixels, {**metadata, "do_sample_frames": False})]})
    out = vllms(text, mm_items=items, hf_processor_mm_kwargs={})
    (item,), (place,) = out["mm_kwargs"]["video"], out["mm_placeholders"]["video"]
    seconds = float(item["second_per_grid_ts"].data)
    feature = SimpleNamespace(
        modality="video",
        mm_position=place,
        data={key: SimpleNamespace(data=item[key].data) for key in ("video_grid_thw", "second_per_grid_ts")},
    )
    network = SimpleNamespace(config=processor.config)
    network.iter_mm_grid_thw = lambda f: Qwen2_5_VLForConditionalGeneration.iter_mm_grid_thw(network, f)
    ids = list(out["prompt_token_ids"])
    engine = Qwen2_5_VLForConditionalGeneration.get_mrope_input_positions(network, ids, [feature])[0]
    return {
        "true_s": 2 * spacing_s,
        "vllm_s": seconds,
        "verl_last": int(verls.max()),
        "vllm_last": int(engine.max()),
        "equal": bool(np.array_equal(verls[:, 0].numpy(), engine.numpy())),
    }


def measure(stock: bool) -> dict:
    """In a process of its own, with or without the work-arounds."""
    from longvt_plugins.upstream import ledger

    if stock:
        ledger.LEDGER = tuple(entry for entry in ledger.LEDGER if not entry.module.endswith(OURS))
    import verl  # noqa: F401  (loads the entry point, which applies the ledger)

    from longvt_plugins.registry import packaged_path
    from longvt_plugins.testing.tiny_model import make_tiny_qwen2_5_vl
    from longvt_plugins.tokens.profiles import profile_named
    from longvt_plugins.verify.run import verify
    from longvt_plugins.verify.session import Session

    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder, "model"))
        texts = [Path(packaged_path("tokens/templates/qwen2_5_vl.jinja")).read_text()]
        make_tiny_qwen2_5_vl(model, texts, hidden=64, sharpness=SHARPNESS)
        rows = [{"frames": n, "spacing_s": s, **positions(model, n, s)} for n, s in CASES]
        session = Session(model, Path(folder), profile_named("native"), "vllm", "float32")
        findings = {finding.check: vars(finding) for finding in verify(session)}
    return {"rows": rows, "findings": findings}


def report(found: dict[str, dict]) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("verl", "vllm", "transformers", "torch"))
    lines = [
        "# Videos of Qwen2.5-VL stand at other positions in rollout than in training",
        "",
        f"`python benchmarks/video_positions.py`, {datetime.date.today()}, Python {platform.python_version()};",
        f"{versions}.",
        "",
        "The same frames with the same true times, in a prompt of one video and five words.",
        "",
        "| frames | seconds between grids, true | upstream | vLLM takes | last position, verl | vLLM | equal |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in PARTS:
        for row in found[name]["rows"]:
            cells = (row["frames"], row["true_s"], name, f"{row['vllm_s']:.3g}", row["verl_last"], row["vllm_last"])
            lines.append(f"| {' | '.join(map(str, cells))} | {'yes' if row['equal'] else '**no**'} |")
    lines += [
        "",
        "Probabilities of the policy's tokens, engine against actor, before any update (tiny checkpoint, fp32):",
        "",
    ]
    for name in PARTS:
        lines.append(f"* {name}: {found[name]['findings']['log-probs']['detail']}")
    lines += [
        "",
        "## Causes",
        "",
        "1. vLLM 0.24.0, `Qwen2VLProcessingInfo.get_data_parser`: without `video_needs_metadata=True` the metadata of",
        "   a video is dropped, and transformers takes it for 24 frames per second: 2 / 24 = 0.083 s between grids.",
        "   `Qwen3VLProcessingInfo` asks for it.",
        "2. verl 0.9.1, `AgentLoopWorker._compute_position_ids`: calls `get_rope_index` without `second_per_grid_ts`.",
        "3. transformers 5.8.1, `Qwen2_5_VLModel.get_rope_index`: `int(second_per_grid_ts)` (0.5 s becomes 0), and the",
        "   text after a video starts at max(height, width) of its grid; vLLM and the original start at max + 1.",
        "",
        "With (1) mended in vLLM and positions taken from one function on verl's side, both agree on every token.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(measure(stock=args.part == "stock")))
        return
    found = {}
    for part in PARTS:
        done = subprocess.run([sys.executable, __file__, "--part", part], stdout=subprocess.PIPE, text=True, check=True)
        found[part] = json.loads(done.stdout.splitlines()[-1])
    text = report(found)
    print(text)
    if args.output:
        args.output.write_text(text)


if __name__ == "__main__":
    main()
