"""`latentbench choose`: chooses anew among finished trainings."""

import argparse

from benchmark.choosing import choose_anew, export_models
from benchmark.config.settings import from_mapping
from benchmark.config.tables import assigned, laid_over, parse_assignment
from benchmark.store import ResultsStore
from benchmark.store.remote import local_results
from benchmark.terminal.summary import print_decisions
from benchmark.text import printable
from searchers.rule import ChoiceRule


def choose(options: argparse.Namespace) -> int:
    """Prints what the rule chooses now, and copies the models where asked. Raises InputError."""
    given = {name: getattr(options, name) for name in ("rule", "margin") if getattr(options, name) is not None}
    tables = [assigned(key, value) for key, value in given.items()]
    for change in (*tables, *(parse_assignment(f"weights.{text}") for text in options.weights)):
        given = laid_over(given, change)
    rule: ChoiceRule = from_mapping(ChoiceRule, given, "choose")

    decisions = list(choose_anew(ResultsStore(local_results(options.results)), rule))
    print_decisions(decisions)
    for path in export_models(decisions, options.out) if options.out else []:
        print(f"wrote {printable(path)}")
    return 0
