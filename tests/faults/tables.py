"""Reads a table that is damaged again and again: `python -m tests.faults.tables RESULTS COUNT SEED`."""

import random
import sys
from contextlib import suppress
from pathlib import Path

from benchmark.errors import Damaged
from benchmark.store import ResultsStore
from tests.faults.files import DAMAGES, damage


def main(results: str, count: str, seed: str) -> None:
    """Each damage is to the whole file: they do not add up."""
    rng, store = random.Random(int(seed)), ResultsStore(results)
    path = next(Path(results).glob("searches/*-ald-*/trials/000/epochs.arrow"))
    whole = path.read_bytes()
    path.with_name("trial.json").unlink()
    for _ in range(int(count)):
        damage(path, rng.choice(DAMAGES), rng)
        for read in (store.epochs, store.latents, store.probes, store.trials):
            with suppress(Damaged):
                read()
        path.write_bytes(whole)


if __name__ == "__main__":
    main(*sys.argv[1:])
