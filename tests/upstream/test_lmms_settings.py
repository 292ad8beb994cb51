"""Settings that lmms-engine takes and does not carry out stop the run before it costs anything."""

from types import SimpleNamespace

import pytest

from longvt_plugins.datasets.lmms.options import refuse_silently_wrong
from longvt_plugins.errors import ConfigError


def config(dataset_type="longvt", trainer_type="fsdp2_trainer", eval_dataset_path=None, **args):
    fine = dict(
        use_rmpad=False, use_liger_kernel=False, bf16=True, max_steps=10, per_device_train_batch_size=1,
        sp_ulysses_degree=1, tp_degree=1, ep_degree=1,
    )  # fmt: skip
    return SimpleNamespace(
        dataset_config=SimpleNamespace(dataset_type=dataset_type, eval_dataset_path=eval_dataset_path),
        trainer_type=trainer_type,
        trainer_args=SimpleNamespace(**fine | args),
        model_config=None,
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"use_rmpad": True}, "rmpad is registered by the liger patch alone"),
        ({"use_liger_kernel": True}, "its loss needs the indices"),
        ({"sp_ulysses_degree": 2}, "the parallel forward is part of the rmpad patch"),
        ({"bf16": False}, "float16"),
        ({"max_steps": -1}, "stream of samples is endless"),
        ({"trainer_type": "hf_trainer"}, "hf_trainer"),
        ({"eval_dataset_path": "x"}, "never evaluates"),
    ],
)
def test_it_is_refused_with_the_reason(change, says):
    with pytest.raises(ConfigError, match=says):
        refuse_silently_wrong(config(**change))


@pytest.mark.parametrize(
    "change", [{}, {"use_rmpad": True, "use_liger_kernel": True}, {"dataset_type": "vision_iterable", "bf16": False}]
)
def test_what_works_and_what_is_not_ours_passes(change):
    refuse_silently_wrong(config(**change))


def test_the_runner_checks_first_and_stock_does_not():
    import lmms_engine.train.runner as runner

    from longvt_plugins.upstream import lmms_settings

    stock = getattr(runner.TrainRunner.__init__, "__wrapped__", runner.TrainRunner.__init__)
    stock(object.__new__(runner.TrainRunner), config(use_rmpad=True))
    fresh = SimpleNamespace(TrainRunner=type("TrainRunner", (), {"__init__": stock}))
    lmms_settings.apply(fresh)
    with pytest.raises(ConfigError, match="rmpad"):
        fresh.TrainRunner(config(use_rmpad=True))
