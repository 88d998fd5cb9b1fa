"""Results in the formats of other programs: `latentbench export`.

A writer takes the store and a folder and returns what it wrote there. It replaces its own files, each at once and
whole, and leaves all others alone.
"""

from searchers.registry import Entry

FORMATS: dict[str, Entry] = {
    "parquet": Entry("benchmark.export.tables:write_parquet", "one Parquet file a table"),
    "study": Entry("benchmark.export.study:write_study", "all but models and pictures in one file, for --results"),
    "csv": Entry("benchmark.export.tables:write_csv", "one CSV file a table, arrays in it as JSON"),
    "optuna": Entry("benchmark.export.optuna_studies:write_studies", "an SQLite file for optuna-dashboard"),
    "tensorboard": Entry("benchmark.export.tensorboard:write_events", "the curves of each training for TensorBoard"),
}
