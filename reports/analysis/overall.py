"""What holds over the groups of a report, and what cannot be said of them, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from reports.analysis.across import Across
from reports.analysis.losses import counted
from reports.analysis.paired_blocks import RANKED, Blocks
from reports.data.groups import Group
from reports.data.names import dataset_label, label


def overall(groups: Sequence[Group], kept: Sequence[Group], blocks: Blocks, over: Sequence[Across]) -> list[str]:
    """For which data a verdict holds, what the data sets say together, and what the mean ranks leave out.

    kept: the groups that count, one of each data set and network.
    """
    if not kept:
        return ["No search of the full scale has finished: nothing is claimed."]
    names = list(dict.fromkeys(dataset_label(group.dataset) for group in kept))
    if len(names) == 1:
        sentences = [f"One data set ({names[0]}): a verdict holds for it, and more seeds say nothing of other data."]
    else:
        sentences = [f"{len(names)} data sets ({', '.join(names)}): they are the sample, not their seeds."]
    return [*sentences, *_not_kept(groups, kept), *(one.sentence for one in over), *_ranked(groups, blocks)]


def _not_kept(groups: Sequence[Group], kept: Sequence[Group]) -> Iterator[str]:
    """Names the groups that do not count, and why."""
    lost = [group for group in groups if not any(group is one for one in kept)]
    scaled = [group.title for group in lost if len(group.searches) and counted(group).empty]
    other = [group.title for group in lost if group.title not in scaled]
    if scaled:
        yield f"Not counted, as scaled down or without a search that has ended: {'; '.join(scaled)}."
    if other:
        yield (
            "Not counted over data sets, as another protocol or other features of the same data and network have more "
            f"searches: {'; '.join(other)}."
        )


def _ranked(groups: Sequence[Group], blocks: Blocks) -> Iterator[str]:
    """Says what mean ranks are over and what they leave out."""
    if len(blocks.searchers) < 2:
        return
    titles = {group.slug: group.title for group in groups}
    yield f"Mean ranks are of {', '.join(map(label, blocks.searchers))} in {_listed(blocks.blocks, titles)}."
    left: dict[str, list[tuple[str, float]]] = {}
    for name, block in blocks.left_out:
        left.setdefault(name, []).append(block)
    parts = [f"{label(name)} ({_listed(found, titles)})" for name, found in left.items()]
    if parts:
        yield f"Left out of them, to have no gaps: {'; '.join(parts)}."
    missing = [
        f"{measure.label} of {label(str(name))} in {n} of {len(measure.values)} seeds"
        for measure in blocks.measures
        for name, n in measure.values.isna().sum().items()
        if n
    ]
    if missing:
        yield f"A failed search and a missing value rank last: {', '.join(missing)}."
    absent = [q.label for q in RANKED if not any(measure.quantity == q for measure in blocks.measures)]
    if absent:
        yield f"Not ranked, as no search has it: {', '.join(absent)}."


def _listed(blocks: Iterable[tuple[str, float]], titles: dict[str, str]) -> str:
    """Blocks as `digits, mlp: seeds 0, 1; mnist, mlp: seed 2`."""
    seeds: dict[str, list[str]] = {}
    for slug, seed in blocks:
        seeds.setdefault(titles[slug], []).append(f"{seed:g}")
    return "; ".join(f"{title}: seed{'s' if len(of) > 1 else ''} {', '.join(of)}" for title, of in seeds.items())
