"""The stream: every row once an epoch over all consumers, and a resume that loses and repeats nothing."""

from __future__ import annotations

import itertools
import pickle

import pytest
from lmms_engine.datasets.packing import build_online_packer

from longvt_plugins.datasets.lmms.stream import SampleStream
from longvt_plugins.errors import ConfigError, DataError

ROWS = 37
STRATEGIES = ["first_fit", "best_fit", "balanced"]


def length(row: int) -> int:
    return 3 + row * 7 % 11


def load(row: int):
    return None if row % 10 == 9 else {"input_ids": [row] * length(row), "row": row}


def stream(strategy: str | None = None, **options) -> SampleStream:
    packer = build_online_packer(strategy, 25) if strategy else None
    return SampleStream(ROWS, load, packer=packer, **options)


def rows(produced) -> list:
    return [[s["row"] for s in item] if isinstance(item, list) else item["row"] for item in produced]


def test_all_consumers_together_read_every_row_once_an_epoch():
    consumers, good = 5, [row for row in range(ROWS) if load(row)]
    streams = [iter(stream(consumer=c, consumers=consumers)) for c in range(consumers)]
    epochs = 3
    # Positions of three epochs, by consumer; rows that are left out take their position silently.
    seen = []
    for consumer, samples in enumerate(streams):
        positions = range(consumer, epochs * ROWS, consumers)
        order = stream(consumer=consumer, consumers=consumers)
        wanted = [order._row(p) for p in positions]
        seen += rows(itertools.islice(samples, sum(load(row) is not None for row in wanted)))
    assert sorted(seen) == sorted(good * epochs)


def test_epochs_differ_and_seeds_repeat():
    first, second = (rows(itertools.islice(iter(stream(seed=3)), 68)) for _ in range(2))
    assert first == second and first[:34] != first[34:] and sorted(first[:34]) == sorted(first[34:])


@pytest.mark.parametrize("strategy", [None, *STRATEGIES])
@pytest.mark.parametrize("taken", [0, 1, 4, 9, 30])
def test_a_resume_goes_on_exactly(strategy, taken):
    whole = rows(itertools.islice(iter(stream(strategy)), 60))
    first = stream(strategy)
    before = rows(itertools.islice(iter(first), taken))
    state = pickle.loads(pickle.dumps(first.state()))
    second = stream(strategy)
    second.restore(state)
    assert before + rows(itertools.islice(iter(second), 60 - taken)) == whole


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_packs_keep_to_their_length_and_lose_no_row(strategy):
    packs = list(itertools.islice(iter(stream(strategy)), 40))
    assert all(sum(len(sample["input_ids"]) for sample in pack) <= 25 for pack in packs)
    seen = [row for pack in rows(packs) for row in pack]
    assert set(seen) == {row for row in range(ROWS) if load(row)}


def test_a_state_of_other_data_is_refused_with_what_differs():
    state = stream(consumers=2, identity="a").state()
    with pytest.raises(ConfigError, match="consumers was 2 and is 4, identity was 'a' and is 'b'"):
        stream(consumers=4, identity="b").restore(state)


def test_rows_that_are_all_bad_end_the_stream():
    with pytest.raises(DataError, match="none of them gives a sample"):
        next(iter(SampleStream(5, lambda row: None)))
