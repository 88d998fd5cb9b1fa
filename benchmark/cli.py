"""The command line.

suggest, inspect, run, prepare, list, show, watch, report, verdict, compare, export, choose, check.
"""

import argparse
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

import shtab

from benchmark import __version__
from benchmark.config.protocol import (
    EXECUTIONS,
    EXECUTORS,
    FEATURES,
    PRECISIONS,
    dataset_protocol,
    load_protocol,
    override,
)
from benchmark.config.tables import assigned, parse_assignment
from benchmark.datasets import check_dataset_name
from benchmark.errors import InputError
from benchmark.export import FORMATS
from benchmark.paths import cache_root, data_root, is_url, path_argument, results_argument
from benchmark.suggest.request import add_options, read_request
from benchmark.terminal.command import OneLineParser, exit_code
from benchmark.text import features_kind, printable
from searchers import GROUPS
from searchers.registry import Entry
from searchers.rule import RULES

SHORT_FORMS = {  # options that set one value of the protocol
    "dataset": "dataset.name",
    "backbone": "backbone.name",
    "searchers": "run",
    "seeds": "seeds",
    "epochs": "training.epochs",
    "scale": "training.scale",
    "features": "evaluation.features",
    "precision": "training.precision",
    "deterministic": "training.deterministic",
}
CHOOSE = "benchmark.commands.choose:choose"
EXPORT = "benchmark.commands.export:export"
CHECK = "benchmark.commands.check:check"
LIST = "benchmark.commands.listing:print_lists"
REPORT = "reports.__main__:report"  # by name: reports import this package, never the other way round
PAGE = "reports.__main__:write_page"
COMPARE = "reports.compare.command:print_comparison"
VERDICT = "reports.claims.command:print_verdict"
INSPECT = "latentbench.inspection:command"


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script `latentbench`: exit code 2 with one line on bad input, 130 or 143 when interrupted."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        sys.exit(exit_code(lambda: _execute(arguments), "latentbench"))
    except SystemExit:
        if _exit_codes:
            sys.exit(_exit_codes[0])
        raise


def _execute(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    code: int = options.command(options)
    return code


_exit_codes: list[int] = []  # of a signal: Ray's calls turn a handler's SystemExit into one of code 1


def _terminated(signum: int, frame: FrameType | None) -> NoReturn:
    print("latentbench: terminated; run the same command again to continue", file=sys.stderr)
    _exit_codes.append(128 + signum)
    sys.exit(128 + signum)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="latentbench", description=__doc__)
    parser.add_argument("--version", action="version", version=f"latentbench {__version__}")
    shtab.add_argument_to(parser, "--print-completion", help="print a completion script for this shell")
    commands = parser.add_subparsers(
        required=True, metavar="suggest|inspect|run|prepare|list|show|watch|report|verdict|compare|export|choose|check"
    )
    suggest = commands.add_parser("suggest", help="a latent size for a dataset or your own data, in plain words")
    add_options(suggest)
    suggest.set_defaults(command=_suggest)
    inspect = commands.add_parser("inspect", help="how many latents of a model are in use, by several readings")
    inspect.add_argument("model", type=path_argument, help="a model.pt of a finished search")
    inspect.add_argument("data", help="a dataset's name, folder:PATH or array:PATH; its test split is looked at")
    inspect.add_argument("--figure", type=path_argument, help="a file to draw each latent's KL and variances to")
    inspect.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="such as dataset.key=X")
    inspect.set_defaults(command=lambda options: Entry(INSPECT, "").load()(options))
    run = commands.add_parser("run", help="run searchers on a dataset; what is already done is not run again")
    run.add_argument("--protocol", help="a protocol's name (see list) or your own .toml (default: the dataset's)")
    run.add_argument("--dataset", help="a name, folder:PATH, array:PATH or module:function (default: digits)")
    searchers = "names, all, fast, papers, or your own as module:Class (default: the papers' but tpe)"
    run.add_argument("--searchers", nargs="+", help=searchers)
    run.add_argument("--seeds", nargs="+", type=int, help="default: 0 1 2")
    run.add_argument("--epochs", type=int, help="of one full training (default: the protocol's)")
    run.add_argument("--scale", type=float, help="shrink the budget, such as 0.05 for a smoke run")
    run.add_argument("--backbone", help="a name, or your own as module:Class (default: the protocol's)")
    run.add_argument("--features", choices=FEATURES, help="of both FIDs (default: the protocol's)")
    run.add_argument("--precision", choices=PRECISIONS, help="of the products in training (default: the protocol's)")
    run.add_argument("--deterministic", action="store_true", default=None, help="a GPU repeats itself bit for bit")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other value of the protocol, such as training.batch_size=128; may be given several times",
    )
    run.add_argument(
        "--execution",
        choices=EXECUTIONS,
        default="sequential",
        help="of trainings that are known beforehand (grid's, random's): one after another, each as a task of its own, "
        "or all sizes and seeds as one stacked model",
    )
    run.add_argument("--executor", choices=EXECUTORS, default="local", help="where searches run (default: local)")
    run.add_argument("--address", help="of a running Ray cluster: auto, HOST:PORT or ray://HOST:PORT (default: none)")
    run.add_argument("--dry-run", action="store_true", help="print the searches and what they are estimated to cost")
    run.add_argument("--verify", action="store_true", help="read all results of finished searches to find damage")
    run.add_argument("--no-wait", action="store_true", help="end where other commands have all searches that are left")
    run.add_argument("--jobs", type=int, help="searches at a time (default: one a core, or one a GPU)")
    run.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (Apple's)")
    run.add_argument("--results", type=results_argument, default="results", help="a folder, or a URL such as s3://...")
    run.set_defaults(command=_run)
    prepare = commands.add_parser("prepare", help="download and decode a dataset and make its features beforehand")
    prepare.add_argument("dataset", help="a dataset's name, folder:PATH or array:PATH")
    prepare.add_argument("--protocol", help="a protocol's name (see list) or your own .toml (default: the dataset's)")
    prepare.add_argument("--features", choices=FEATURES, help="of both FIDs (default: the protocol's)")
    prepare.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (Apple's)")
    prepare.set_defaults(command=_prepare)
    commands.add_parser("list", help="searchers, datasets, backbones, protocols").set_defaults(
        command=partial(_command, LIST)
    )
    show = commands.add_parser("show", help="the searches of a results folder, or of several as one")
    show.add_argument("results", nargs="*", type=results_argument, help="folders, URLs or studies' files")
    show.add_argument("--results", nargs="+", dest="more", default=[], type=results_argument, help="the same")
    show.set_defaults(command=_show)
    watch = commands.add_parser("watch", help="running searches' curves while they train; ends when none is running")
    watch.add_argument("results", type=results_argument)
    watch.add_argument("--every", type=float, default=2.0, metavar="SECONDS", help="between two looks (default: 2)")
    watch.add_argument("--once", action="store_true", help="one look; so do a pipe and a URL")
    watch.set_defaults(command=_watch)
    report = commands.add_parser("report", help="tables, figures and a page from a results folder")
    add_report_options(report)
    report.set_defaults(command=_report)
    verdict = commands.add_parser("verdict", help="what a registered claim's runs have shown")
    verdict.add_argument("claim", type=path_argument, help="a claim file, such as claims/example-digits.toml")
    verdict.add_argument(
        "results", nargs="+", type=results_argument, help="folders, URLs or studies' files that hold its searches"
    )
    verdict.set_defaults(command=partial(_own_code, VERDICT))
    compare = commands.add_parser("compare", help="the same searches in two results: of other versions or machines")
    compare.add_argument("first", type=results_argument, help="a folder, a URL or a study's file")
    compare.add_argument("second", type=results_argument, help="what is compared with it")
    compare.add_argument("--out", type=path_argument, help="a file to write the table to, .csv or .md")
    compare.set_defaults(command=partial(_command, COMPARE))
    export = commands.add_parser("export", help="results in the formats of other programs")
    export.add_argument("results", nargs="+", type=results_argument, help="one, or several as one")
    formats = "; ".join(f"{name}: {entry.summary}" for name, entry in FORMATS.items())
    export.add_argument("--to", "--format", dest="to", choices=FORMATS, required=True, help=formats)
    export.add_argument("--out", type=path_argument, help="folder (study: or FILE.parquet; default: RESULTS/export)")
    export.add_argument("--epochs", type=int, help="study: so many epochs of a training at most (default: all)")
    export.set_defaults(command=partial(_command, EXPORT))
    choose = commands.add_parser("choose", help="choose anew among finished trainings, by another rule")
    choose.add_argument("results", type=results_argument)
    choose.add_argument("--rule", choices=RULES, help="default: smallest-good")
    choose.add_argument("--margin", type=float, help="in parts of what latents are worth (default: 0.05)")
    weights = "of metrics for mean-rank, such as fid_gen=2 silhouette=0 (default: 1 each)"
    choose.add_argument("--weights", nargs="+", default=[], metavar="METRIC=WEIGHT", help=weights)
    choose.add_argument("--out", type=path_argument, help="folder to copy the chosen models to")
    choose.set_defaults(command=partial(_command, CHOOSE))
    check = commands.add_parser("check", help="whether a searcher, backbone or dataset keeps its contract")
    check.add_argument("name", help="a name, or your own as module:Class (a dataset: module:function)")
    check.add_argument(
        "--kind",
        choices=("searcher", "backbone", "dataset"),
        default="searcher",
        help="what it is (default: a searcher)",
    )
    shape = "of the images of a backbone (default: 1 28 28)"
    check.add_argument("--shape", type=int, nargs="+", default=(1, 28, 28), help=shape)
    check.set_defaults(command=partial(_own_code, CHECK))
    return parser


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """The options of `latentbench report` and `python -m reports`."""
    parser.add_argument(
        "--results",
        nargs="+",
        type=results_argument,
        default=["results"],
        help="a folder (default: results), a URL or a study's file; several are read as one",
    )
    parser.add_argument("--out", type=path_argument, help="folder to write to (default: RESULTS/report)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--figures",
        nargs="*",
        metavar="NAME",
        help="the papers' figures and tables, all or by name, to OUT/papers; your own as module:FIGURE, to OUT/figures",
    )
    what.add_argument("--list", action="store_true", help="the papers' figures, and which the results have runs for")


def _suggest(options: argparse.Namespace) -> int:
    """Exit code 1 where the search failed."""
    started = time.monotonic()
    _check_platform("suggest")
    _find_own_modules()
    request = read_request(options, started)

    from benchmark.suite.executors.local_pool import warm_up
    from benchmark.terminal.stage_display import StageDisplay

    warm_up()
    with StageDisplay("starting"):
        from benchmark.suggest.command import suggest
        from benchmark.terminal.screen import TerminalScreen

    suggestion = suggest(request, TerminalScreen())
    print("", *map(printable, suggestion.sentences), "", sep="\n", flush=True)
    if suggestion.model is None:
        return 1
    print(f"The model: from benchmark import load_model; vae = load_model({str(suggestion.model)!r})", flush=True)
    print(f"The page: {printable(Entry(PAGE, '').load()(options.results))}")
    return 0


def _check_platform(command: str) -> None:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        raise InputError(f"{command} cannot work on Windows, which cannot fork; expected Linux or macOS: run it in WSL")


def _run(options: argparse.Namespace) -> int:
    """Exit code 1 where a search failed."""
    _check_platform("run")
    _find_own_modules()
    if options.dataset is not None:
        check_dataset_name(options.dataset)
    dataset = options.dataset or "digits"
    protocol = dataset_protocol(dataset) if options.protocol is None else load_protocol(options.protocol)
    given = {key: getattr(options, name) for name, key in SHORT_FORMS.items()}
    if options.searchers is not None:
        named = [name for group in options.searchers for name in GROUPS.get(group, (group,))]
        given["run"] = list(dict.fromkeys(named)) if set(options.searchers) & set(GROUPS) else named
    changes = [assigned(key, value) for key, value in given.items() if value is not None]
    protocol = override(protocol, *changes, *map(parse_assignment, options.set))
    asked = (*protocol.run, *protocol.seeds)
    for name in asked:
        if asked.count(name) > 1:
            raise InputError(f"{name} is named twice; expected each searcher and seed once")
    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"jobs is {options.jobs}; expected at least 1")
    if options.address is not None and options.executor != "ray":
        raise InputError(
            f"address is {options.address} and executor {options.executor}; expected --executor ray with it"
        )

    if options.executor == "local":
        from benchmark.suite.executors.local_pool import warm_up

        warm_up()  # its imports and those below take seconds, which they spend at the same time

    from benchmark.terminal.stage_display import StageDisplay

    with StageDisplay("starting"):
        from benchmark.store import ResultsStore
        from benchmark.store.remote import local_results
        from benchmark.suite.runner import Suite, plan_suite, run_suite
        from benchmark.terminal.plan_table import print_plan
        from benchmark.terminal.screen import TerminalScreen
        from benchmark.terminal.summary import print_latents, print_summary

    suite = Suite(
        protocol,
        protocol.run,
        protocol.seeds,
        options.results,
        options.device,
        options.jobs,
        options.execution,
        options.executor,
        options.address,
        options.verify,
        not options.no_wait,
    )
    if options.dry_run:
        print_plan(plan_suite(suite, TerminalScreen()))
        return 0
    searches = run_suite(suite, TerminalScreen())
    print_summary(searches)
    if protocol.show_latents:
        print_latents(ResultsStore(local_results(options.results)), searches)
    return int((~searches["status"].isin(["done", *(["running"] if options.no_wait else [])])).any())


def _prepare(options: argparse.Namespace) -> int:
    name = options.dataset
    _find_own_modules()
    check_dataset_name(name)
    protocol = dataset_protocol(name) if options.protocol is None else load_protocol(options.protocol)
    features = {} if options.features is None else assigned("evaluation.features", options.features)
    protocol = override(protocol, assigned("dataset.name", name), features)

    from benchmark.suite.executors.local_pool import warm_up
    from benchmark.terminal.stage_display import StageDisplay

    warm_up()
    with StageDisplay("starting"):
        from benchmark.suite.runner import prepare
        from benchmark.terminal.screen import TerminalScreen

    prepared = prepare(protocol, options.device, TerminalScreen())
    kind = features_kind(prepared.protocol.evaluation.features)
    print(f"{printable(name)}: {prepared.data}; {kind} features for the FIDs are ready")
    print(f"downloads are kept in {data_root()}, decoded images and classifiers in {cache_root()}")
    if protocol.evaluation.features == "auto" and prepared.device == "cpu":
        print("on a GPU auto means Inception's features: prepare those too with --features inception")
    return 0


def _show(options: argparse.Namespace) -> int:
    from benchmark.store.remote import open_results
    from benchmark.terminal.summary import print_summary

    store = open_results([*options.results, *options.more] or ["results"])
    print_summary(store.searches())
    if store.description():
        print(printable(store.description()))
    return 0


def _watch(options: argparse.Namespace) -> int:
    if not 0 < options.every < math.inf:
        raise InputError(f"every is {options.every:g} seconds; expected a number above 0")
    if not is_url(options.results) and Path(options.results).is_file():
        raise InputError(f"{options.results} is a file, in which nothing runs; expected a results folder")

    from benchmark.store import ResultsStore
    from benchmark.store.remote import local_results
    from benchmark.terminal.watch import watch

    once = options.once or is_url(options.results)  # of which there is a copy
    return watch(ResultsStore(local_results(options.results)), options.every, once)


def _command(target: str, options: argparse.Namespace) -> int:
    """Runs a command of another module, which is imported only now."""
    code: int = Entry(target, "").load()(options)
    return code


def _own_code(target: str, options: argparse.Namespace) -> int:
    """Runs a command that may load code of the user's."""
    _find_own_modules()
    return _command(target, options)


def _report(options: argparse.Namespace) -> int:
    if any(":" in name for name in options.figures or ()):  # else the working folder is no place to find code in
        _find_own_modules()
    return _command(REPORT, options)


def _find_own_modules() -> None:
    """Lets Python find a user's searcher in the working folder; last, lest a queue.py there is taken for its own."""
    sys.path.append(os.getcwd())
