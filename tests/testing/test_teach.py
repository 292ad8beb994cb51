"""Only what the policy says is taught."""

from longvt_plugins.testing.teach import supervised
from longvt_plugins.tokens.labels import IGNORE

_ = IGNORE


def test_own_pieces_are_found_in_order():
    assert supervised([9, 1, 2, 9, 3, 9], [[1, 2], [3]]) == [_, 1, 2, _, 3, _]
    assert supervised([5, 1, 5, 1], [[5], [1]]) == [5, 1, _, _]
    assert supervised([9, 9], []) == [_, _]
