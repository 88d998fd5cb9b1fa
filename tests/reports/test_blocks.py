"""The largest table without gaps: the same as by trying all, and quick with many searchers."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_frames import Row, search

from reports.analysis.paired_blocks import complete_blocks, largest_table
from tests.reports.test_ranks import groups


def brute_force(done: np.ndarray) -> tuple[bool, ...]:
    """Of all sets of searchers that share a block, or some block has, the best as `complete_blocks` says."""
    n_searchers = done.shape[1]

    def worth(some: tuple[int, ...]) -> tuple[bool, int, int, list[int]]:
        blocks = int(done[:, some].all(axis=1).sum())
        pairs = len(some) * (len(some) - 1) // 2
        return blocks > 1 and pairs > 0, blocks * pairs, len(some), list(some)

    closed = [()] if (~done.any(axis=1)).any() else []
    for size in range(1, n_searchers + 1):
        closed += [s for s in itertools.combinations(range(n_searchers), size) if done[:, s].all(axis=1).any()]
    # A table to which a searcher can be added without losing a block is never the best.
    best = max(closed, key=worth)
    return tuple(i in best for i in range(n_searchers))


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.integers(1, 8).flatmap(lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1)))
def test_it_is_the_best_of_all(rows: list[list[bool]]) -> None:
    done = np.array(rows)
    assert tuple(largest_table(done)) == brute_force(done)


@pytest.mark.parametrize("missing", [0.15, 0.5])
def test_it_is_close_to_the_best_where_not_all_are_tried(missing: float) -> None:
    for seed in range(5):
        done = np.random.default_rng(seed).random((60, 14)) > missing
        found = [_pairs(done, largest_table(done, most)) for most in (100, 2**14)]  # few of each size, and all
        assert 0.95 * found[1] <= found[0] <= found[1]


def test_a_large_table_hidden_among_gaps_is_found() -> None:
    rng = np.random.default_rng(1)
    done = rng.random((200, 30)) > 0.5
    searchers, blocks = rng.permutation(30)[:12], rng.permutation(200)[:60]
    done[np.ix_(blocks, searchers)] = True
    assert set(np.flatnonzero(largest_table(done))) == set(searchers)


def _pairs(done: np.ndarray, chosen: np.ndarray) -> int:
    return int(done[:, chosen].all(axis=1).sum() * chosen.sum() * (chosen.sum() - 1) // 2)


def test_thirty_searchers_in_two_hundred_blocks_take_a_moment() -> None:
    done = np.random.default_rng(0).random((200, 30)) > 0.15
    begin = time.process_time()
    chosen = largest_table(done)
    assert time.process_time() - begin < 5
    assert _pairs(done, chosen) >= 3360  # the most that any way tried has found


def test_the_features_of_two_datasets_are_of_one_kind() -> None:
    """Each dataset has a classifier of its own; inside a block all searches have the same."""

    def scored(dataset: str, features: str) -> list[Row]:
        return [
            search(
                name, seed, dataset=dataset, test_fid_features=features, test_fid_gen=float(place), protocol_hash="a"
            )
            for seed in range(2)
            for place, name in enumerate(("grid", "ald"))
        ]

    rows = scored("digits", "classifier:1a2b3c4d") + scored("mnist", "classifier:5e6f7a8b")
    measures = {measure.label: len(measure.values) for measure in complete_blocks(groups(rows)).measures}
    assert measures["FID, samples (classifier features)"] == 4
    same = scored("digits", "classifier:1a2b3c4d") + [
        {**row, "search_id": f"{row['search_id']}-other"} for row in scored("digits", "classifier:5e6f7a8b")
    ]
    assert [group.fid_features for group in groups(same)] == ["classifier:1a2b3c4d", "classifier:5e6f7a8b"]
    assert len(complete_blocks(groups(same)).blocks) == 4  # two groups of two seeds: never one block
