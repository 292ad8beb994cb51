"""Sequences of one length: stock verl breaks their M-RoPE position ids, the work-around mends them."""

import pytest
import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils

STOCK = tensordict_utils.maybe_fix_3d_position_ids.__wrapped__


def nested(lengths):
    rows = [torch.arange(4 * n).view(4, n) for n in lengths]
    return rows, TensorDict({"position_ids": torch.nested.as_nested_tensor(rows, layout=torch.jagged)}, len(rows))


def taken(data):
    return tensordict_utils.index_select_tensor_dict(data, [2, 0])["position_ids"].unbind()


def test_stock_fails_on_equal_lengths():
    _, data = nested([9, 9, 9])
    STOCK(data)
    with pytest.raises(RuntimeError):
        taken(data)


@pytest.mark.parametrize("lengths", [[9, 9, 9], [5, 9, 7], [4, 4, 4]])
def test_rows_survive(lengths):
    rows, data = nested(lengths)
    tensordict_utils.maybe_fix_3d_position_ids(data)
    assert all(torch.equal(a, b) for a, b in zip(taken(data), [rows[2], rows[0]], strict=True))


def test_it_may_be_applied_again():
    rows, data = nested([9, 9, 9])
    for _ in range(2):
        tensordict_utils.maybe_fix_3d_position_ids(data)
    assert torch.equal(taken(data)[0], rows[2])


def test_a_stacked_batch_becomes_ragged_in_its_last_dimension():
    data = TensorDict({"position_ids": torch.arange(2 * 4 * 6).view(2, 4, 6)}, 2)
    tensordict_utils.maybe_fix_3d_position_ids(data)
    assert data["position_ids"].is_nested and data["position_ids"].offsets().tolist() == [0, 6, 12]
