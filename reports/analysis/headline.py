"""What a group's results say, in plain sentences: which method can be recommended, and each against the grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmark.text import of_data
from reports.analysis.comparison import active_range, ratio, stat
from reports.analysis.effects import FEW_SEEDS, MARGIN, Shown
from reports.analysis.losses import counted, losses_of
from reports.analysis.paired_blocks import complete_blocks
from reports.analysis.verdicts import WITHIN, Verdict, decimal
from reports.data.groups import Group
from reports.data.names import counted as counted_names
from reports.data.names import label
from reports.data.numbers import DASH, quantity_text
from reports.data.quantities import ELBO, TRAIN_FLOPS, WALL_SECONDS

DOUBTFUL = {  # counts of the comparison, and what they count
    "n_collapsed": "have collapsed",
    "n_unused_latents": "have unused latents",
    "n_still_learning": "were still learning",
    "n_worse_than_pca": "are worse than PCA",
    "n_worthless": "are worth no more than one without latents",
    "n_unsettled": "had no stable size yet",
    "n_unshown": "are of a size not shown to be enough",
}


@dataclass(frozen=True)
class Headline:
    """`lead` names the method to take or says why there is none; then a sentence a searcher, and cautions."""

    title: str
    lead: str
    searchers: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def headline(group: Group, rows: pd.DataFrame, verdicts: Sequence[Verdict], cautions: Sequence[str]) -> Headline:
    """The sentences of one group; `rows` is its part of the comparison, `cautions` go to the notes."""
    by_name = {str(row["searcher"]): row for _, row in rows.iterrows()}
    against = {verdict.searcher: verdict for verdict in verdicts}
    told = tuple((name, _sentence(group, by_name[name], against.get(name))) for name in group.searchers)
    is_open = bool(verdicts) and not any(verdict.recommended for verdict in verdicts)
    lead = " ".join(part for part in (_lead(group, by_name, verdicts), _mean_ranks(group) if is_open else "") if part)
    told = tuple((name, of_data(sentence, group.fid_features)) for name, sentence in told)
    return Headline(
        group.title, of_data(lead + _doubtful(rows), group.fid_features), told, (*_unfinished(group), *cautions)
    )


def _lead(group: Group, rows: dict[str, pd.Series], verdicts: Sequence[Verdict]) -> str:
    """The answer and what it is worth."""
    if group.done.empty:
        return "No search has finished yet: nothing can be said about quality or cost."
    if (counted(group)["status"] != "done").all():
        return "These searches ran on a scaled-down protocol, to see that everything works: nothing is claimed."
    if not group.grids:
        return "No grid search has finished: there is nothing to compare the others with."
    grid = rows[group.grids[0]]
    found = f"{label(group.grids[0])} found {sizes(group, grid)}."
    if not verdicts:
        only = set(group.done["searcher"]) == {group.grids[0]}
        why = "No other search has finished" if only else f"Nothing can be compared with it: {_missing(group)}"
        return f"{found} {why}."
    best = next((verdict for verdict in verdicts if verdict.recommended), None)
    return " ".join([_answer(group, rows, best, verdicts, found), *_lists(verdicts)])


def _missing(group: Group) -> str:
    """Why there is no verdict, though the grid and another search have finished."""
    done = counted(group)
    done = done[done["status"] == "done"]
    if done[ELBO.tested].isna().all():
        return "no search has a test ELBO"
    if done.loc[done["searcher"].isin(group.grids), ELBO.tested].isna().all():
        return "no grid search has a test ELBO"
    if done["no_latents_nll"].isna().all():
        return "no search says what a model without latents loses"
    if losses_of(group) is None:
        return "the best size loses no less than a model without latents"
    return "none has a seed in common with it"


def _answer(
    group: Group, rows: dict[str, pd.Series], best: Verdict | None, verdicts: Sequence[Verdict], of_grid: str
) -> str:
    nats = MARGIN * verdicts[0].gap
    worth = f"{WITHIN} of what latents are worth ({decimal(nats, nats)} nats/image)"
    if best:
        row = rows[best.searcher]
        return (
            f"Take {label(best.searcher)}: it found {sizes(group, row)}, at {ratio(row, TRAIN_FLOPS)} the grid’s "
            f"training FLOPs, and is the cheapest method that is shown to lose less than {worth} "
            f"against the grid, in {best.effect.n} seeds of this data set. {of_grid}"
        )
    n = max(verdict.effect.n for verdict in verdicts)
    seeds = f"{n} seeds" if n > 1 else "One seed"
    few = f": {seeds} of one data set cannot name a winner" if n < FEW_SEEDS else ""
    like = " with sizes like its" if any(one.shown == "equivalent" and one.is_larger for one in verdicts) else ""
    return f"No method cheaper than the grid is shown to lose less than {worth} against it{like}{few}. {of_grid}"


def _lists(verdicts: Sequence[Verdict]) -> list[str]:
    """Names the methods of each verdict, without the recommended one."""
    kinds: dict[Shown, str] = {
        "equivalent": f"Shown to lose less than {WITHIN}{' too' if any(one.recommended for one in verdicts) else ''}",
        "worse": "Shown to be worse",
        "not shown": "Not shown either way",
    }
    others = [one for one in verdicts if not one.recommended]
    named = {kind: [_named(one) for one in others if one.shown == kind] for kind in kinds}
    return [f"{text}: {', '.join(named[kind])}." for kind, text in kinds.items() if named[kind]]


def _named(verdict: Verdict) -> str:
    larger = verdict.shown == "equivalent" and verdict.is_larger
    return label(verdict.searcher) + (
        f" (but with {verdict.size_ratio:.1f} times the grid’s latents)" if larger else ""
    )


def _mean_ranks(group: Group) -> str:
    """Describes the mean ranks by test ELBO; empty with fewer than three searchers in common seeds."""
    measure = next((one for one in complete_blocks([group]).measures if one.quantity == ELBO), None)
    if measure is None or len(measure.values.columns) < 3:
        return ""
    means = sorted((float(rank), str(name)) for name, rank in measure.ranks.mean().items())
    ends = [f"{rank:.1f} ({label(name)})" for rank, name in (means[0], means[-1])]
    n = len(measure.values)
    return f"Mean ranks by test ELBO over {n} seed{'s' if n > 1 else ''}, as a description: {' to '.join(ends)}."


def _doubtful(rows: pd.DataFrame) -> str:
    """Names the searchers some of whose models have collapsed or not learned."""
    said = []
    for column, what in DOUBTFUL.items():
        found = rows[rows[column] > 0]
        named = [f"{label(row['searcher'])} {row[column]:g} of {row['n_done']}" for _, row in found.iterrows()]
        said += [f"{what} ({', '.join(named)})"] if named else []
    return f" Careful: models {', '.join(said)}; the notes below name them." if said else ""


def _sentence(group: Group, row: pd.Series, verdict: Verdict | None) -> str:
    searcher = str(row["searcher"])
    if not row["n_done"]:
        return f"{label(searcher)} has no finished search ({group.unfinished(searcher)})."
    found = f"{label(searcher)} found {sizes(group, row)}"
    reference = next(iter(group.grids), None)
    if reference in (None, searcher):
        costs = ((TRAIN_FLOPS, "of training"), (WALL_SECONDS, "of wall-clock"))
        known = [(quantity_text(cost, row[stat(cost, "mean")]), name) for cost, name in costs]
        spent = " and ".join(f"{amount} {name}" for amount, name in known if amount != DASH)
        without = "" if reference else "; there is no finished grid search to compare it with"
        return f"{found}{f', for {spent} a search' if spent else ''}{without}."
    names = ((TRAIN_FLOPS, "the grid’s training FLOPs"), (WALL_SECONDS, "its wall-clock"))
    multiples = " and ".join(f"{ratio(row, cost)} {name}" for cost, name in names if ratio(row, cost))
    said = verdict.sentence if verdict else "It has no test ELBO to compare with a grid search of its seed."
    return f"{found}{f', at {multiples}' if multiples else ''}. {said}"


def sizes(group: Group, row: pd.Series) -> str:
    """`14 latents (12–17 over 10 seeds; 10 to 24 are as good in most seeds), 13 in use`."""
    median, low, high = (row[f"latent_dim_{name}"] for name in ("median", "min", "max"))
    n = row["n_done"]
    seeds = f"{n} seed{'s' if n > 1 else ''}"
    if not np.isfinite(median):
        return f"a latent size that was not recorded ({seeds})"
    latents = f"{median:g} latent{'' if median == 1 else 's'}"
    spread = f"{low:g}–{high:g} over {seeds}" if low != high else f"in each of {seeds}" if n > 1 else "one seed"
    told = "; ".join(part for part in (spread, as_good(group, row)) if part)
    in_use = f", {active_range(row)} in use" if np.isfinite(row["active_units_median"]) else ""
    return f"{latents} ({told}){in_use}"


def as_good(group: Group, row: pd.Series) -> str:
    """`10 to 24 are as good in most seeds`; empty where no other size is."""
    found = group.as_good(str(row["searcher"]))
    most = " in most seeds" if row["n_done"] > 1 else ""
    return f"{found[0]} to {found[-1]} are as good{most}" if len(found) > 1 else ""


def _unfinished(group: Group) -> list[str]:
    notes = []
    for status, note in (
        (
            "failed",
            "Some searches failed: {}. Means are of the finished ones only, which may flatter a searcher; in a "
            "verdict a failure counts as a model without latents.",
        ),
        ("running", "Some searches are still running: {}. The results may change."),
    ):
        searchers = group.searches.loc[group.searches["status"] == status, "searcher"]
        notes += [note.format(counted_names(searchers))] if len(searchers) else []
    return notes
