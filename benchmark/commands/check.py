"""`latentbench check`: whether a searcher, a backbone or a data set keeps its contract."""

import argparse
from functools import partial

from benchmark.backbones.build import make_backbone
from benchmark.datasets import check_dataset_name, load_dataset
from benchmark.suite.plan import make_searcher
from benchmark.testing import BackboneContract, DatasetContract
from benchmark.text import printable
from searchers.testing.contract import failures, run_checks


def check(options: argparse.Namespace) -> int:
    """Prints a line for each test of the contract; returns 1 where one fails. Raises InputError."""
    failed = False
    for what, error in _CHECKS[options.kind](options):
        failed |= error is not None
        print(f"ok      {what}" if error is None else f"FAILED  {what}: {printable(error)}", flush=True)
    return int(failed)


def _contract(base: type, **values: object) -> type:
    return type("Contract", (base,), values)


def _backbone(options: argparse.Namespace) -> type:
    shapes = (tuple(options.shape),)
    return _contract(BackboneContract, backbone=make_backbone(options.name, {}), shapes=shapes)


def _dataset(options: argparse.Namespace) -> type:
    check_dataset_name(options.name)
    return _contract(DatasetContract, load=staticmethod(partial(load_dataset, options.name)))


_CHECKS = {
    "searcher": lambda options: run_checks(make_searcher(options.name, {})),
    "backbone": lambda options: failures(_backbone(options)),
    "dataset": lambda options: failures(_dataset(options)),
}
