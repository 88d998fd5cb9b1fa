"""The papers' figures and tables, one name each."""

from __future__ import annotations

from reports.papers import PaperItem

PAPER_ITEMS: dict[str, PaperItem] = {}
