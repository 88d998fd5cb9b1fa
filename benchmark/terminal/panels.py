"""Renders a snapshot of the searches as text that fits a terminal."""

import math
from collections.abc import Sequence

from rich.text import Text

from benchmark.terminal.braille import braille_chart
from benchmark.terminal.snapshot import CURVES, Ended, Name, Running, Snapshot
from benchmark.text import ROWS, duration_text, features_kind, number_text

_HEADINGS = {
    "recon_nll": "recon_nll ↓",
    "fid_recon": "fid_recon ↓",
    "fid_gen": "fid_gen ↓",
    "silhouette": "silhouette ↑",
    "latent_dim": "latent size",
}
_CHART_HEIGHTS = (3, 6)  # lines: minimum, maximum
_NARROWEST = 65  # characters that five charts need
_LONGEST_NAME = 60
_MOST_ENDED = 10  # lines of finished and of failed searches if the height is unlimited


def view(searches: Snapshot, width: int, height: int | None) -> Text:
    """Renders at most `height` lines (None: unlimited) of at most `width` characters.

    Shows a block of curves for each running search, or a line each if blocks do not fit; then the ended searches.
    """
    counts = f"{len(searches.running)} running, {len(searches.done)} done, {len(searches.failed)} failed"
    lines = [Text(counts + (f", {searches.n_unreadable} unreadable" if searches.n_unreadable else ""), "bold")]
    chart_height = _chart_height(searches, height)
    blocks = [line for search in searches.running for line in _block(search, width, chart_height)]
    if blocks and width >= _NARROWEST and (height is None or len(blocks) + 2 <= height):
        lines += [*blocks, Text(_legend(searches.running), "dim")]
    else:
        room = len(searches.running) if height is None else height - 1
        lines += _cut(_running_lines(searches.running, width), room, "running")
    lines += _ended_lines(searches, None if height is None else height - len(lines))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n", no_wrap=True).join(lines[:height])


def _chart_height(searches: Snapshot, height: int | None) -> int:
    """The height of the charts in lines: as much as a few lines of ended searches leave."""
    lowest, highest = _CHART_HEIGHTS
    if height is None or not searches.running:
        return lowest
    ended = min(len(searches.done) + len(searches.failed) + 1, _MOST_ENDED)
    return max(lowest, min(highest, (height - 2 - ended) // len(searches.running) - 5))


def _block(search: Running, width: int, chart_height: int) -> list[Text]:
    """An empty line, the name and state of the search, and its curves side by side."""
    lines = [Text(), _name(search.name, width // 2).append_text(_state(search))]
    if search.epoch:
        room = width // len(CURVES)
        panels = [_panel(_HEADINGS[name], search.curves[name], room - 1, chart_height) for name in CURVES]
        lines += [Text("".join(cell.ljust(room) for cell in cells)) for cells in zip(*panels, strict=True)]
    return lines


def _panel(heading: str, values: Sequence[float], width: int, chart_height: int) -> list[str]:
    """A heading, the curve, its first and last value, its lowest and highest value."""
    finite = [value for value in values if math.isfinite(value)]
    ends = _fit("{} → {}", (values[0], values[-1]), width)
    span = _fit("[{}, {}]", (min(finite), max(finite)), width) if finite else "no value"
    return [heading, *braille_chart(values, width, chart_height), ends, span]


def _fit(template: str, values: Sequence[float], width: int) -> str:
    """Formats the values with four significant digits, or fewer if the width requires it."""
    texts = [template.format(*(number_text(value, f".{digits}g") for value in values)) for digits in (4, 3, 2)]
    return next((text for text in texts if len(text) <= width), texts[-1][:width])


def _legend(running: Sequence[Running]) -> str:
    """Explains the numbers of the blocks, in at most 80 characters for known features."""
    features = " or ".join(sorted({features_kind(search.fid_features) for search in running} - {""}))
    if features == ROWS:
        return "first → last, [min, max] so far; recon_nll: nats/row; fid: Fréchet distance, scaled data"
    units = "recon_nll: nats/image" + (f"; FID: {features} features" if features else "")
    return f"first → last, [min, max] so far; {units}"


def _running_lines(running: Sequence[Running], width: int) -> list[Text]:
    names = [_name(search.name, width // 2) for search in running]
    widest = max((name.cell_len for name in names), default=0)
    lines = []
    for search, name in zip(running, names, strict=True):
        name.pad_right(widest - name.cell_len)
        last = [f"{curve} {number_text(search.curves[curve][-1], '.4g')}" for curve in CURVES[:-1] if search.epoch]
        lines.append(name.append_text(_state(search)).append("".join(f", {value}" for value in last)))
    return lines


def _state(search: Running) -> Text:
    """The current training, epoch and size of a search, and when it ends or how long it has been silent."""
    if not search.training:
        text = Text("  starting")
    else:
        of = f" of {search.n_trainings}" if search.n_trainings else ""
        text = Text(f"  training {search.training}{of}, epoch {search.epoch}/{search.epochs or '?'}")
    left = "" if search.seconds_left is None else duration_text(search.seconds_left)
    if search.training_ended and not search.seconds_left:
        text.append(" (ended)")
    elif left and not search.n_trainings:
        text.append(f" ({left} left)")
    if search.epoch:
        text.append(f", {_size(search.curves['latent_dim'][-1], search.active_units)}")
    if left and search.n_trainings:
        text.append(f", ETA {left}")
    if search.without_news:
        text.append(f", no news for {duration_text(search.silent_seconds)}", "bold yellow")
    return text


def _ended_lines(searches: Snapshot, room: int | None) -> list[Text]:
    """The latest finished and failed searches; failed ones get half of the lines, or what finished ones leave."""
    done, failed = ([_ended_line(search) for search in ended] for ended in (searches.done, searches.failed))
    for_done = for_failed = _MOST_ENDED
    if room is not None:
        room -= bool(done or failed)  # an empty line comes first
        for_failed = min(len(failed), max(room // 2, room - len(done)))
        for_done = room - for_failed
    lines = [*_cut(done, for_done, "done"), *_cut(failed, for_failed, "failed")]
    return [Text(), *lines] if lines else []


def _ended_line(search: Ended) -> Text:
    text = _name(search.name, _LONGEST_NAME)
    if search.error is not None:
        text.append(f"  failed {duration_text(search.seconds_ago)} ago: {search.error}", "red")
    else:
        size = _size(search.latent_dim, search.active_units)
        text.append(f"  {size} in {duration_text(search.wall_seconds)}")
        text.append(f", {duration_text(search.seconds_ago)} ago", "dim")
    return text


def _size(latent_dim: float, active_units: float) -> str:
    return f"{latent_dim:g} latents" + ("" if math.isnan(active_units) else f" ({active_units:g} in use)")


def _cut(lines: Sequence[Text], room: int, kind: str) -> list[Text]:
    """The lines, or the first of them and a count of the rest if there are more than `room`."""
    if len(lines) <= room:
        return list(lines)
    shown = max(0, room - 1)
    return [*lines[:shown], Text(f"… and {len(lines) - shown} more {kind}", "dim")][: max(0, room)]


def _name(name: Name, room: int) -> Text:
    text = Text(f"{name.dataset} {name.backbone} {name.searcher} seed {name.seed}", "bold")
    text.truncate(room, overflow="ellipsis")
    return text
