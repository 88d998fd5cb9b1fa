"""The command line: suggest, run, prepare, list, show, watch, report, verdict, export, choose, check."""

import argparse
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import shtab

from benchmark import __version__
from benchmark.backbones import BACKBONES
from benchmark.config.protocol import (
    EXECUTIONS,
    EXECUTORS,
    FEATURES,
    PRECISIONS,
    dataset_protocol,
    load_protocol,
    override,
    protocol_names,
)
from benchmark.config.settings import from_mapping
from benchmark.config.tables import assigned, laid_over, parse_assignment
from benchmark.datasets import DATASETS, check_dataset_name
from benchmark.errors import InputError
from benchmark.export import FORMATS
from benchmark.paths import cache_root, data_root, is_url, path_argument, results_argument
from benchmark.suggest.request import add_options, read_request
from benchmark.terminal.command import OneLineParser, exit_code
from benchmark.text import features_kind, printable
from searchers import GROUPS, KINDS, SEARCHERS
from searchers.registry import Entry
from searchers.rule import RULES, ChoiceRule

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
REPORT = "reports.__main__:report"  # by name: reports import this package, never the other way round
PAGE = "reports.__main__:write_page"
VERDICT = "reports.claims.command:print_verdict"


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
        required=True, metavar="suggest|run|prepare|list|show|watch|report|verdict|export|choose|check"
    )
    suggest = commands.add_parser("suggest", help="a latent size for a dataset or your own images, in plain words")
    add_options(suggest)
    suggest.set_defaults(command=_suggest)
    run = commands.add_parser("run", help="run searchers on a dataset; what is already done is not run again")
    run.add_argument("--protocol", help="a protocol's name (see list) or your own .toml (default: the dataset's)")
    run.add_argument("--dataset", help="a dataset's name, or folder:PATH (default: digits)")
    run.add_argument(
        "--searchers",
        nargs="+",
        help="names, all, fast, papers, or your own as module:Class (default: the papers' but tpe)",
    )
    run.add_argument("--seeds", nargs="+", type=int, help="default: 0 1 2")
    run.add_argument("--epochs", type=int, help="of one full training (default: the protocol's)")
    run.add_argument("--scale", type=float, help="shrink the budget, such as 0.05 for a smoke run")
    run.add_argument("--backbone", help="a backbone's name (default: the protocol's)")
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
    prepare.add_argument("dataset", help="a dataset's name, or folder:PATH")
    prepare.add_argument("--protocol", help="a protocol's name (see list) or your own .toml (default: the dataset's)")
    prepare.add_argument("--features", choices=FEATURES, help="of both FIDs (default: the protocol's)")
    prepare.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (Apple's)")
    prepare.set_defaults(command=_prepare)
    commands.add_parser("list", help="searchers, datasets, backbones, protocols").set_defaults(command=_list)
    show = commands.add_parser("show", help="the searches of a results folder")
    show.add_argument("results", type=results_argument)
    show.set_defaults(command=_show)
    watch = commands.add_parser("watch", help="running searches' curves while they train; ends when none is running")
    watch.add_argument("results", type=results_argument)
    watch.add_argument("--every", type=float, default=2.0, metavar="SECONDS", help="between two looks (default: 2)")
    watch.add_argument("--once", action="store_true", help="one look; so do a pipe and a URL")
    watch.set_defaults(command=_watch)
    report = commands.add_parser("report", help="tables, figures and a page from a results folder")
    add_report_options(report)
    report.set_defaults(command=lambda options: Entry(REPORT, "").load()(options))
    verdict = commands.add_parser("verdict", help="what a registered claim's runs have shown")
    verdict.add_argument("claim", type=path_argument, help="a claim file, such as claims/example-digits.toml")
    verdict.add_argument("results", nargs="+", type=results_argument, help="folders or URLs that hold its searches")
    verdict.set_defaults(command=_verdict)
    export = commands.add_parser("export", help="results in the formats of other programs")
    export.add_argument("results", type=results_argument)
    formats = "; ".join(f"{name}: {entry.summary}" for name, entry in FORMATS.items())
    export.add_argument("--to", choices=FORMATS, required=True, help=formats)
    export.add_argument("--out", type=path_argument, help="folder to write to (default: RESULTS/export)")
    export.set_defaults(command=_export)
    choose = commands.add_parser("choose", help="choose anew among finished trainings, by another rule")
    choose.add_argument("results", type=results_argument)
    choose.add_argument("--rule", choices=RULES, help="default: smallest-good")
    choose.add_argument("--margin", type=float, help="in parts of what latents are worth (default: 0.05)")
    weights = "of metrics for mean-rank, such as fid_gen=2 silhouette=0 (default: 1 each)"
    choose.add_argument("--weights", nargs="+", default=[], metavar="METRIC=WEIGHT", help=weights)
    choose.add_argument("--out", type=path_argument, help="folder to copy the chosen models to")
    choose.set_defaults(command=_choose)
    check = commands.add_parser("check", help="whether a searcher keeps the contract, on a toy problem")
    check.add_argument("searcher", help="a name, or your own as module:Class")
    check.set_defaults(command=_check)
    return parser


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """The options of `latentbench report` and `python -m reports`."""
    parser.add_argument(
        "--results", type=results_argument, default="results", help="a folder (default: results) or URL"
    )
    parser.add_argument("--out", type=path_argument, help="folder to write to (default: RESULTS/report)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--figures", nargs="*", metavar="NAME", help="the papers' figures and tables, all or by name, to OUT/papers"
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


def _list(options: argparse.Namespace) -> int:
    by_kind = {
        f"searchers that {kind}": {name: entry for name, entry in SEARCHERS.items() if entry.room == room}
        for room, kind in KINDS.items()
    }
    for title, entries in {**by_kind, "datasets": DATASETS, "backbones": BACKBONES}.items():
        print(f"{title}:")
        for name, entry in entries.items():
            print(f"  {name:22} {entry.summary}")
    print("protocols:")
    for name in protocol_names():
        print(f"  {name:22} {load_protocol(name).summary}")
    return 0


def _show(options: argparse.Namespace) -> int:
    from benchmark.store import ResultsStore
    from benchmark.store.remote import local_results
    from benchmark.terminal.summary import print_summary

    print_summary(ResultsStore(local_results(options.results)).searches())
    return 0


def _watch(options: argparse.Namespace) -> int:
    if not 0 < options.every < math.inf:
        raise InputError(f"every is {options.every:g} seconds; expected a number above 0")

    from benchmark.store import ResultsStore
    from benchmark.store.remote import local_results
    from benchmark.terminal.watch import watch

    once = options.once or is_url(options.results)  # of which there is a copy
    return watch(ResultsStore(local_results(options.results)), options.every, once)


def _verdict(options: argparse.Namespace) -> int:
    _find_own_modules()
    code: int = Entry(VERDICT, "").load()(options)
    return code


def _export(options: argparse.Namespace) -> int:
    from benchmark.stages import listening
    from benchmark.store import ResultsStore
    from benchmark.store.remote import local_results
    from benchmark.terminal.stage_display import StageDisplay

    out = options.out or Path("results" if is_url(options.results) else options.results) / "export"
    with StageDisplay("reading the results") as display, listening(display.show):
        store = ResultsStore(local_results(options.results))
        written = FORMATS[options.to].load()(store, out)
    if not written:
        raise InputError(f"no searches at {options.results}; expected results that `latentbench run` wrote")
    for path in written:
        print(f"wrote {printable(path)}")
    return 0


def _choose(options: argparse.Namespace) -> int:
    given = {name: getattr(options, name) for name in ("rule", "margin") if getattr(options, name) is not None}
    tables = [assigned(key, value) for key, value in given.items()]
    for change in (*tables, *(parse_assignment(f"weights.{text}") for text in options.weights)):
        given = laid_over(given, change)
    rule: ChoiceRule = from_mapping(ChoiceRule, given, "choose")

    from benchmark.choosing import choose_anew, export_models
    from benchmark.store import ResultsStore
    from benchmark.store.remote import local_results
    from benchmark.terminal.summary import print_decisions

    decisions = list(choose_anew(ResultsStore(local_results(options.results)), rule))
    print_decisions(decisions)
    for path in export_models(decisions, options.out) if options.out else []:
        print(f"wrote {printable(path)}")
    return 0


def _check(options: argparse.Namespace) -> int:
    """Exit code 1 where a check fails."""
    _find_own_modules()

    from benchmark.suite.plan import make_searcher
    from searchers.testing.contract import run_checks

    failed = False
    for what, error in run_checks(make_searcher(options.searcher, {})):
        failed |= error is not None
        print(f"ok      {what}" if error is None else f"FAILED  {what}: {printable(error)}", flush=True)
    return int(failed)


def _find_own_modules() -> None:
    """Lets Python find a user's searcher in the working folder; last, lest a queue.py there is taken for its own."""
    sys.path.append(os.getcwd())
