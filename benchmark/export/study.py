"""A study in one file, which everything reads that reads results."""

from pathlib import Path

from benchmark.stages import begin_stage
from benchmark.store import ResultsStore
from benchmark.store.sources.study_file import write_study_file


def write_study(store: ResultsStore, out: Path, epochs: int | None = None) -> list[Path]:
    """Writes `out` where it ends in .parquet, else OUT/study.parquet; see `write_study_file` for epochs."""
    path = out if out.suffix == ".parquet" else out / "study.parquet"
    if store.searches().empty:
        return []
    begin_stage("writing the study")
    write_study_file(store, path, epochs)
    return [path]
