"""`latentbench list`: what there is by name."""

import argparse

from benchmark.backbones import BACKBONE
from benchmark.config.protocol import load_protocol, protocol_names
from benchmark.datasets import DATASET
from benchmark.plugins import FIGURE, METRIC, SEARCHER
from benchmark.text import printable
from searchers import KINDS, SEARCHERS

PLUGINS = (SEARCHER, DATASET, BACKBONE, METRIC, FIGURE)


def print_lists(options: argparse.Namespace) -> int:
    """Prints the names, those of other packages with the package; imports none of them."""
    lists = {
        f"searchers that {kind}": {name: entry for name, entry in SEARCHERS.items() if entry.room == room}
        for room, kind in KINDS.items()
    }
    lists |= {"searchers of other packages": SEARCHER.from_packages()}
    lists |= {f"{kind.name}s": {**kind.built_in, **kind.from_packages()} for kind in PLUGINS[1:]}
    summaries = {title: {name: entry.summary for name, entry in lists[title].items()} for title in lists}
    summaries["protocols"] = {name: load_protocol(name).summary for name in protocol_names()}
    for title, names in summaries.items():
        lines = [f"{title}:", *(f"  {name:22} {summary}" for name, summary in names.items())] if names else []
        print(*lines, sep="\n", end="\n" if lines else "")
    for line in (line for kind in PLUGINS for line in kind.clashes().values()):
        print(f"left out: {printable(line)}")
    return 0
