"""The latent size that each searcher chose."""

from __future__ import annotations

from reports.data.groups import Group
from reports.drawing.layout import unfinished
from reports.drawing.strips import Panel, Strips, strip_row


def latent_dim_data(group: Group) -> Strips:
    """Chosen latent size of each finished search."""
    rows = [strip_row(group, searcher, "latent_dim", "median") for searcher in group.searchers]
    panel = Panel("chosen latent size (dimensions)", False, tuple(rows))
    return Strips(f"Chosen latent size: {group.title}", "median", (panel,), tuple(unfinished(group)))
