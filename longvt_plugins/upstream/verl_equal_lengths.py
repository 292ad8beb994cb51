"""Give position ids of equal-length sequences the ragged dimension they need. Reason and end: ``ledger.py``."""

from __future__ import annotations

import functools


def apply(tensordict_utils) -> None:
    """Wrap ``verl.utils.tensordict_utils.maybe_fix_3d_position_ids``."""
    original = tensordict_utils.maybe_fix_3d_position_ids

    @functools.wraps(original)
    def fix(data) -> None:
        position_ids = data["position_ids"] if "position_ids" in data.keys() else None  # noqa: SIM118
        if position_ids is not None and position_ids.dim() == 3:
            if not position_ids.is_nested:
                rows = list(position_ids.unbind())
            elif position_ids.offsets()[-1] == position_ids.values().shape[0]:
                rows = list(position_ids.values().split(position_ids.offsets().diff().tolist()))
            else:
                rows = None
            if rows is not None:
                data["position_ids"] = tensordict_utils.nested_tensor_from_tensor_list(rows, ragged_idx=2)
        original(data)

    tensordict_utils.maybe_fix_3d_position_ids = fix
