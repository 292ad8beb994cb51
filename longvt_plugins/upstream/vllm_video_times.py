"""Let vLLM know how far apart the frames of a Qwen2.5-VL video are. Reason and end: ``ledger.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNKNOWN_RATE = 24.0
"""What Hugging Face assumes of a video without metadata; vLLM's dummy videos have none."""


def apply(qwen2_5_vl) -> None:
    """Keep the metadata of videos through ``vllm.model_executor.models.qwen2_5_vl``'s parser and processor."""
    from vllm.model_executor.models.qwen2_vl import Qwen2VLMultiModalDataParser

    class Parser(Qwen2VLMultiModalDataParser):
        def _get_video_with_metadata(self, video):
            frames, metadata = super()._get_video_with_metadata(video)
            return frames, metadata or _at_unknown_rate(len(frames))

    def get_data_parser(self):
        return Parser(
            self.get_hf_config().vision_config.spatial_merge_size,
            video_needs_metadata=True,
            expected_hidden_size=self._get_expected_hidden_size(),
        )

    processor = qwen2_5_vl.Qwen2_5_VLMultiModalProcessor
    original = processor._call_hf_processor

    def _call_hf_processor(self, prompt, mm_data: Mapping[str, object], mm_kwargs, tok_kwargs):
        videos = mm_data.get("videos") or []
        if videos:
            mm_data = {
                **mm_data,
                "videos": [frames for frames, _ in videos],
                "video_metadata": [_for_processor(metadata) for _, metadata in videos],
            }
            mm_kwargs = {"do_sample_frames": False, **mm_kwargs}
        return original(self, prompt, mm_data, mm_kwargs, tok_kwargs)

    qwen2_5_vl.Qwen2_5_VLProcessingInfo.get_data_parser = get_data_parser
    processor._call_hf_processor = _call_hf_processor


def _at_unknown_rate(frames: int) -> dict[str, Any]:
    return {"fps": UNKNOWN_RATE, "frames_indices": list(range(frames)), "total_num_frames": frames}


def _for_processor(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key != "do_sample_frames"}
