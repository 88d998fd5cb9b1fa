"""A snapshot of the searches as text that fits a terminal."""

import math
from collections.abc import Sequence

from rich.text import Text

from benchmark.terminal.braille import braille_chart
from benchmark.terminal.snapshot import CURVES, Ended, Name, Running, Snapshot
from benchmark.text import features_kind

_HEADINGS = {
    "recon_nll": "recon_nll ↓",
    "fid_recon": "fid_recon ↓",
    "fid_gen": "fid_gen ↓",
    "silhouette": "silhouette ↑",
    "latent_dim": "latent size",
}
_CHART_LINES = (3, 6)  # at least, at most
_NARROWEST = 65  # characters that five charts need
_LONGEST_NAME = 60
_MOST_ENDED = 10  # lines for each kind where the height sets no bound


def view(now: Snapshot, width: int, height: int | None) -> Text:
    """At most `height` lines of at most `width` characters; None: as many lines as there is to say.

    A block of curves for each running search, or a line each where blocks do not fit; then the ended searches.
    """
    counts = f"{len(now.running)} running, {len(now.done)} done, {len(now.failed)} failed"
    lines = [Text(counts + (f", {now.n_unreadable} unreadable" if now.n_unreadable else ""), "bold")]
    chart_lines = _chart_lines(now, height)
    blocks = [line for search in now.running for line in _block(search, width, chart_lines)]
    if blocks and width >= _NARROWEST and (height is None or len(blocks) + 2 <= height):
        lines += [*blocks, Text(_legend(now.running), "dim")]
    else:
        room = len(now.running) if height is None else height - 1
        lines += _at_most(room, _one_liners(now.running, width), "running")
    lines += _ended_lines(now, None if height is None else height - len(lines))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n", no_wrap=True).join(lines[:height])


def _chart_lines(now: Snapshot, height: int | None) -> int:
    """How high the charts are: as the height allows beside a few lines of ended searches."""
    lowest, highest = _CHART_LINES
    if height is None or not now.running:
        return lowest
    ended = min(len(now.done) + len(now.failed) + 1, _MOST_ENDED)
    return max(lowest, min(highest, (height - 2 - ended) // len(now.running) - 5))


def _block(search: Running, width: int, chart_lines: int) -> list[Text]:
    """An empty line, the search and where it is, and its curves side by side."""
    lines = [Text(), _name(search.name, width // 2).append_text(_state(search))]
    if search.epoch:
        room = width // len(CURVES)
        panels = [_panel(_HEADINGS[name], search.curves[name], room - 1, chart_lines) for name in CURVES]
        lines += [Text("".join(cell.ljust(room) for cell in cells)) for cells in zip(*panels, strict=True)]
    return lines


def _panel(heading: str, values: Sequence[float], width: int, chart_lines: int) -> list[str]:
    """Heading, curve, its first and last value, its lowest and highest."""
    finite = [value for value in values if math.isfinite(value)]
    ends = _fitting("{} → {}", (values[0], values[-1]), width)
    span = _fitting("[{}, {}]", (min(finite), max(finite)), width) if finite else "no value"
    return [heading, *braille_chart(values, width, chart_lines), ends, span]


def _fitting(template: str, values: Sequence[float], width: int) -> str:
    """The values with four significant digits, or fewer where the width asks for it."""
    texts = [template.format(*(_number(value, digits) for value in values)) for digits in (4, 3, 2)]
    return next((text for text in texts if len(text) <= width), texts[-1][:width])


def _number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}g}"


def _legend(running: Sequence[Running]) -> str:
    """What the blocks' numbers are, at most 80 characters for known features."""
    features = " or ".join(sorted({features_kind(search.fid_features) for search in running} - {""}))
    units = "recon_nll: nats/image" + (f"; FID: {features} features" if features else "")
    return f"first → last, [min, max] so far; {units}"


def _one_liners(running: Sequence[Running], width: int) -> list[Text]:
    names = [_name(search.name, width // 2) for search in running]
    widest = max((name.cell_len for name in names), default=0)
    lines = []
    for search, name in zip(running, names, strict=True):
        name.pad_right(widest - name.cell_len)
        last = [f"{curve} {_number(search.curves[curve][-1], 4)}" for curve in CURVES[:-1] if search.epoch]
        lines.append(name.append_text(_state(search)).append("".join(f", {value}" for value in last)))
    return lines


def _state(search: Running) -> Text:
    """The training, the epoch and the size that a search is at, and when it ends or since when nothing is known."""
    if not search.training:
        text = Text("  starting")
    else:
        of = f" of {search.n_trainings}" if search.n_trainings else ""
        text = Text(f"  training {search.training}{of}, epoch {search.epoch}/{search.epochs or '?'}")
    left = "" if search.seconds_left is None else _duration(search.seconds_left)
    if search.training_ended and not search.seconds_left:
        text.append(" (ended)")
    elif left and not search.n_trainings:
        text.append(f" ({left} left)")
    if search.epoch:
        text.append(f", {_size(search.curves['latent_dim'][-1], search.active_units)}")
    if left and search.n_trainings:
        text.append(f", ETA {left}")
    if search.without_news:
        text.append(f", no news for {_duration(search.silent_seconds)}", "bold yellow")
    return text


def _ended_lines(now: Snapshot, room: int | None) -> list[Text]:
    """The latest finished and failed searches; of the room failed ones get half, or what finished ones leave."""
    done, failed = ([_ended(search) for search in ended] for ended in (now.done, now.failed))
    for_done = for_failed = _MOST_ENDED
    if room is not None:
        room -= bool(done or failed)  # for an empty line
        for_failed = min(len(failed), max(room // 2, room - len(done)))
        for_done = room - for_failed
    lines = [*_at_most(for_done, done, "done"), *_at_most(for_failed, failed, "failed")]
    return [Text(), *lines] if lines else []


def _ended(search: Ended) -> Text:
    text = _name(search.name, _LONGEST_NAME)
    if search.error is not None:
        text.append(f"  failed {_duration(search.seconds_ago)} ago: {search.error}", "red")
    else:
        size = _size(search.latent_dim, search.active_units)
        text.append(f"  {size} in {_duration(search.wall_seconds)}")
        text.append(f", {_duration(search.seconds_ago)} ago", "dim")
    return text


def _size(latent_dim: float, active_units: float) -> str:
    return f"{latent_dim:g} latents" + ("" if math.isnan(active_units) else f" ({active_units:g} in use)")


def _at_most(room: int, lines: Sequence[Text], what: str) -> list[Text]:
    """The lines, or as many as there is room for, the last of them counting the rest."""
    if len(lines) <= room:
        return list(lines)
    shown = max(0, room - 1)
    return [*lines[:shown], Text(f"… and {len(lines) - shown} more {what}", "dim")][: max(0, room)]


def _name(name: Name, room: int) -> Text:
    text = Text(f"{name.dataset} {name.backbone} {name.searcher} seed {name.seed}", "bold")
    text.truncate(room, overflow="ellipsis")
    return text


def _duration(seconds: float) -> str:
    """Seconds in a unit of which there are at least two."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
