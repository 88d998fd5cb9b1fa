"""Prints what a suite would run and cost, instead of running it."""

from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from benchmark.suite.forecast import DryRun, plan_data, speed_of
from benchmark.suite.runner import Plan
from benchmark.terminal.summary import wide_console
from benchmark.text import printable, short_number

COLUMNS = ("searcher", "seeds", "to run", "trainings a search", "TFLOPs a search")


def print_plan(plan: Plan) -> None:
    """Prints one row per searcher, the totals, and the source of the speed.

    If no finished search tells the speed of a CPU, it is measured, which takes a second.
    """
    specs, shape = plan.specs, plan.prepared.image_shape
    pending = [spec for spec in specs if spec.search_id not in plan.done]
    speed, source = speed_of(pending, shape, plan.searches)
    data = plan_data(specs, plan.items, shape, plan.prepared.n_images, plan.done, speed, plan.workers)
    unit = "CPU" if all(spec.device == "cpu" for spec in specs) else "GPU"
    table = Table(title="estimates, mostly from above", box=SIMPLE, padding=(0, 1))
    for name in (*COLUMNS, f"hours a search ({unit})"):
        table.add_column(escape(printable(name)), justify="left" if name == "searcher" else "right", no_wrap=True)
    for row in data.rows:
        cells = [printable(row.searcher), " ".join(map(str, row.seeds)), str(row.to_run), str(row.trainings)]
        table.add_row(*map(escape, cells), short_number(row.flops / 1e12), short_number(row.hours))
    console = wide_console()
    console.print(table)
    for line in (summary(data, plan.workers, unit), source):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def summary(plan: DryRun, workers: int, unit: str) -> str:
    """The totals in one line. unit: CPU or GPU."""
    counts = f"{plan.searches} searches, {plan.done} done"
    if plan.done == plan.searches:
        return counts
    line = f"{counts}; {short_number(plan.flops / 1e12)} TFLOPs"
    line += f" and about {short_number(plan.hours)} {unit} hours to go" if plan.hours is not None else " to go"
    if plan.placement is not None:
        line += f"; on {workers} at a time about {short_number(plan.placement.makespan)} hours"
        line += f", of which the longest {plan.tasks} takes {short_number(plan.placement.longest)}"
    return line
