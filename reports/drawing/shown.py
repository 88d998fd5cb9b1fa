"""Which methods the figures of a group show where there are more than can be told apart."""

from __future__ import annotations

from dataclasses import replace

from reports.analysis.losses import counted
from reports.data.groups import Group
from reports.data.names import in_order
from reports.data.quantities import ELBO

MOST_SHOWN = 10  # colours and markers that a reader can tell apart


def shown(group: Group) -> tuple[Group, tuple[str, ...]]:
    """The group with at most `MOST_SHOWN` methods, and a note on the others; the group itself where it has no more.

    They are the grid searches, then the methods of the lowest mean test loss (-ELBO), each seed's losses less the mean
    of the seed; those without a loss, and equal ones, in the fixed order.
    """
    if len(group.searchers) <= MOST_SHOWN:
        return group, ()
    rows = counted(group)
    losses = -rows[rows["status"] == "done"].pivot(index="seed", columns="searcher", values=ELBO.tested).astype(float)
    means = losses.sub(losses.mean(axis=1), axis=0).mean().reindex(group.searchers).sort_values(kind="stable")
    kept = in_order(list(dict.fromkeys([*group.grids, *map(str, means.index)]))[:MOST_SHOWN])
    frames = (group.searches, group.epochs, group.trials, group.curves)
    searches, epochs, trials, curves = (frame[frame["searcher"].isin(kept)] for frame in frames)
    of = f"{MOST_SHOWN} of {len(group.searchers)} methods"
    note = f"{of}: the grid and those of the lowest mean test loss; the tables have all."
    return replace(group, searches=searches, epochs=epochs, trials=trials, curves=curves), (note,)
