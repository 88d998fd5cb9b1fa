"""The tables that the terminal shows at the end of a suite."""

from collections.abc import Sequence

import pandas as pd
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.choosing import Decision
from benchmark.store import ResultsStore
from benchmark.store.doubts import sentences
from benchmark.text import ROWS, features_kind, number_text, one_line, printable

SUMMARY_METRICS = {"elbo": ".2f", "recon_nll": ".2f", "fid_recon": ".1f", "fid_gen": ".1f", "silhouette_excess": ".3f"}
AS_GOOD = "latents: in parentheses, sizes that are as good"


def print_summary(searches: pd.DataFrame) -> None:
    """Prints one row per search: size, latents in use, costs, metrics on the test split.

    Then prints the error of each failed search and the doubts about the finished ones.
    """
    rules = ", ".join(sorted({rule for rule in searches.get("rule", ()) if isinstance(rule, str) and rule}))
    title = f"metrics on the test split; wall: seconds to the finished model; {AS_GOOD}"
    title += f" by the rule {rules}" if rules else ""
    table = Table(title=title, box=SIMPLE, padding=(0, 1))
    features = {features_kind(str(kind)) for kind in searches.get("test_fid_features", ()) if isinstance(kind, str)}
    metrics = [name.replace("fid", "frechet") if features == {ROWS} else name for name in SUMMARY_METRICS]
    for name in ("dataset", "searcher", "seed", "status", "latents", "in use", "wall", *metrics):
        table.add_column(name, justify="left" if name in ("dataset", "searcher", "status") else "right", no_wrap=True)
    for _, row in searches.iterrows():
        cells = [printable(row[name]) for name in ("dataset", "searcher", "seed", "status")]
        if row["status"] == "done":
            metrics = [number_text(row.get(f"test_{name}"), form) for name, form in SUMMARY_METRICS.items()]
            sizes = [size_text(row["latent_dim"], row.get("as_good")), number_text(row["test_active_units"], ".0f")]
            cells += [*sizes, number_text(row["wall_seconds"], ".1f"), *metrics]
        table.add_row(*map(escape, cells))
    console = wide_console()
    console.print(table)
    for _, row in searches[searches["status"] == "failed"].iterrows():
        console.print(f"failed: {row['search_id']}: {one_line(row['error'])}", markup=False, style="red")
    rows = searches.to_dict("records")
    for sentence in sentences(rows, lambda row: printable(f"{row['searcher']} seed {row['seed']}")):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True, style="yellow")


def size_text(latent_dim: float, as_good: Sequence[int] | None) -> str:
    """A chosen size with the range of sizes that are as good: `12 (10-24)`; without it where there are no others."""
    others = as_good if isinstance(as_good, Sequence) and len(as_good) > 1 else ()
    return number_text(latent_dim, ".0f") + (f" ({min(others)}-{max(others)})" if others else "")


def print_decisions(decisions: Sequence[Decision]) -> None:
    """Prints one row per search: the size that it chose, the one that the rule chooses now, and what speaks for it."""
    table = Table(title=f"chosen anew; loss: against the reference size, % of the gap; {AS_GOOD}", box=SIMPLE)
    for name in ("search", "chose", "chooses", "trial", "loss", "limit", "gap (nats)"):
        table.add_column(name, justify="left" if name == "search" else "right", no_wrap=True)
    for search, training, found in decisions:
        evidence = found.evidence
        now = size_text(training.summary()["latent_dim"], found.as_good)
        shares = [number_text(100 * value, ".1f") for value in (evidence.loss, evidence.limit)]
        chose = number_text(search["latent_dim"], ".0f")
        cells = (search["search_id"], chose, now, str(training.number), *shares, number_text(evidence.gap, ".3g"))
        table.add_row(*map(escape, map(printable, cells)))
    wide_console().print(table)


def print_latents(store: ResultsStore, searches: pd.DataFrame) -> None:
    """Prints each latent of the chosen trainings at their last epoch (tables I and II of 1812.07238)."""
    latents, epochs = store.latents(), store.epochs()
    console = Console()
    for _, search in searches[searches["status"] == "done"].iterrows():
        latent_rows, epoch_rows = (
            frame[(frame["search_id"] == search["search_id"]) & (frame["trial"] == search["chosen_trial"])]
            for frame in (latents, epochs)
        )
        last = latent_rows[latent_rows["epoch"] == latent_rows["epoch"].max()]
        table = Table(title=f"{search['search_id']}: over the validation data", box=SIMPLE)
        for name in ("latent", "variance of the mean", "mean of the variance", "sum"):
            table.add_column(name, justify="right")
        sums = last["latent_mean_variance"] + last["latent_variance_mean"]
        for (_, row), total in zip(last.iterrows(), sums, strict=True):
            numbers = (row["latent_mean_variance"], row["latent_variance_mean"], total)
            table.add_row(str(row["latent_id"]), *(number_text(number, ".4g") for number in numbers))
        console.print(table)
        inactive = len(last) - epoch_rows["active_units"].iloc[-1]
        console.print(f"{inactive} of {len(last)} latents are inactive; the sum is {sums.mean():.3f} on average")


def wide_console() -> Console:
    """A console of at least 160 columns: a wrapped line is better than a cut name."""
    console = Console()
    console.width = max(console.width, 160)
    return console
