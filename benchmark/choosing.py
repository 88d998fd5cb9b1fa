"""Decides anew among the trainings of finished searches, by another rule, without training."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from benchmark.errors import InputError
from benchmark.store import ResultsStore
from benchmark.store.atomic_files import replacing
from benchmark.store.folders import TrialFolder, assessment_of
from benchmark.store.frames import compared_all
from searchers.rule import ChoiceRule
from searchers.selection import Pick, pick


class Decision(NamedTuple):
    """A search's row of `ResultsStore.searches()`, the training that the rule chooses, and what speaks for it."""

    search: pd.Series
    training: TrialFolder
    pick: Pick


def choose_anew(store: ResultsStore, rule: ChoiceRule) -> Iterator[Decision]:
    """Decides for each finished search that let the rule choose among all its trainings; the validation data decide.

    Raises InputError where there is none.
    """
    searches = store.searches()
    compared = searches[(searches["status"] == "done") & searches["rule"].notna() & compared_all(searches)]
    if compared.empty:
        raise InputError(
            f"no finished search at {store.path} compared finished trainings by a rule; expected one of a searcher "
            "that does, as grid"
        )
    for _, search in compared.iterrows():
        folders = [one for one in store.folder(search["search_id"]).trials() if one.curves.exists()]
        assessments = [assessment_of(one.assessments()[0]) for one in folders]
        found = pick(assessments, rule, float(search["val_no_latents_nll"]))
        yield Decision(search, folders[found.place], found)


def export_models(decisions: list[Decision], out: Path) -> list[Path]:
    """Copies each decision's model to `out`, named by its search; `benchmark.load_model` reads it."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for decision in decisions:
        path = out / f"{decision.search['search_id']}.pt"
        with replacing(path) as temporary:
            temporary.write_bytes(decision.training.model.read_bytes())
        written.append(path)
    return written
