"""ms-swift's own scoring with our reward: an abstention leaves its group's mean where it was."""

import pytest

pytest.importorskip("swift.rewards.orm", reason="pip install --no-deps ms-swift and what it imports")
pytestmark = pytest.mark.full


def test_advantages_of_ms_swift():
    import torch
    from swift.rewards.orm import orms
    from swift.rl_core.advantage import compute_advantages
    from swift.rl_core.data import GRPOSample
    from swift.rl_core.grpo_algorithm import compute_rewards_per_func

    from longvt_plugins.reward.adapters import ms_swift

    reward = ms_swift.register("longvt_test", format=0.0)(args=None)
    assert orms["longvt_test"] is type(reward)
    answers = ["red or grey", "crimson", "scarlet", "blue", "wrong", "red or grey", "crimson", "crimson"]
    samples = [
        GRPOSample.from_row(
            {
                "messages": [
                    {"role": "user", "content": f"Which {index // 4}?"},
                    {"role": "assistant", "content": f"<answer>{answer}</answer>" if answer != "wrong" else answer},
                ],
                "solution": "red or grey",
                "prompt_id": str(index // 4),
                "request_id": str(index),
            }
        )
        for index, answer in enumerate(answers)
    ]
    rewards = compute_rewards_per_func(samples, [reward], [None], torch.device("cpu"))
    assert rewards[:, 0].tolist() == [1.0] * 4 + [0.0, 1.0, 0.5, 0.5]
    advantages, _ = compute_advantages(
        rewards_per_func=rewards,
        reward_weights=torch.ones(1),
        num_generations=4,
        advantage_estimator="grpo",
        scale_rewards="group",
        kl_in_reward=False,
        beta=0.0,
        kl_values=None,
    )
    assert advantages[:4].tolist() == [0.0] * 4
    assert advantages[6:].tolist() == [0.0, 0.0] and advantages[4] == -advantages[5] < 0
