"""What each searcher's finished searches cost."""

from __future__ import annotations

from reports.analysis.comparison import time_notes
from reports.data.groups import Group
from reports.data.names import noted
from reports.data.numbers import scaled
from reports.data.quantities import DEVICE_SECONDS, IMAGES_SEEN, TRAIN_FLOPS, WALL_SECONDS, Quantity
from reports.drawing.layout import unfinished, worth_log
from reports.drawing.strips import Panel, Strips, strip_row


def cost_data(group: Group) -> Strips:
    """Cost in readable units: wall-clock, device time, training FLOPs, images.

    Device time has a panel for each kind of device: core-seconds and GPU-seconds share no axis.
    """
    panels = [_panel(group, WALL_SECONDS, "wall-clock")]
    for kind in group.device_kinds or ("core",):
        panels.append(_panel(group, DEVICE_SECONDS, f"{'CPU' if kind == 'core' else kind} time", kind))
    panels += [_panel(group, cost, cost.name(group.fid_features)) for cost in (TRAIN_FLOPS, IMAGES_SEEN)]
    notes = unfinished(group)
    done = group.done
    for cost in (WALL_SECONDS, DEVICE_SECONDS, TRAIN_FLOPS, IMAGES_SEEN):
        known = done[cost.column].notna()
        partly = known.groupby(done["searcher"]).transform("any")  # of the others a row says "no value"
        notes += noted(f"Finished without {cost.name(group.fid_features)}", done.loc[partly & ~known, "searcher"])
    notes += time_notes(group)
    return Strips(f"Search cost: {group.title}", "mean", tuple(panels), tuple(notes))


def _panel(group: Group, cost: Quantity, label: str, kind: str = "") -> Panel:
    """Makes a panel of one cost. kind: of device; only searches on it count, and its seconds are the unit."""
    plain = [strip_row(group, searcher, cost.column, "mean", kind) for searcher in group.searchers]
    values = [value for row in plain for value in row.values]
    divisor, unit = scaled(cost.column, max(values, default=0.0))
    rows = [strip_row(group, searcher, cost.column, "mean", kind, divisor) for searcher in group.searchers]
    unit = f"{kind}-{unit}" if kind else unit
    return Panel(f"{label}\n({unit})" if unit else label, worth_log(values), tuple(rows))
