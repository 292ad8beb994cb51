"""TRL's own GRPOTrainer with our reward: an abstention gets advantage 0 and does not move its group."""

import numpy as np
import pytest

pytest.importorskip("trl", reason="pip install --no-deps trl")
pytestmark = pytest.mark.full


def test_grpo_leaves_abstentions_out(tmp_path):
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    from longvt_plugins.reward.adapters.trl import reward_function
    from longvt_plugins.testing.tiny_model import make_tokenizer

    tokenizer = make_tokenizer(["What colour is the car? <answer>red</answer>"], 400)
    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes))
    answers = ["<answer>red or grey</answer>", "<answer>crimson</answer>", "<answer>scarlet</answer>", "no answer"]
    ours, seen = reward_function(format=0.0), {}

    async def longvt(prompts, completions, **columns):
        return await ours(prompts=prompts, completions=answers, **columns)

    class Trainer(GRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            outputs = super()._generate_and_score_completions(inputs)
            seen["advantages"] = outputs["advantages"].numpy()
            return outputs

    options = dict(per_device_train_batch_size=4, num_generations=4, max_completion_length=4, max_steps=1)
    args = GRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to=[], **options)
    rows = Dataset.from_list([{"prompt": "What colour is the car?", "solution": "red or grey"}] * 4)
    Trainer(model, reward_funcs=longvt, args=args, train_dataset=rows, processing_class=tokenizer).train()
    scores = np.array([1.0, np.nan, np.nan, 0.0])
    expected = np.nan_to_num((scores - np.nanmean(scores)) / (np.nanstd(scores, ddof=1) + 1e-4))
    assert seen["advantages"] == pytest.approx(expected, abs=1e-3)
