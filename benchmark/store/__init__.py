"""The results store: one folder a search, read into pandas frames.

RESULTS/searches/<search_id>/
    search.json             what was asked for, status, error, environment, and the finished search's totals
    error.txt               a failed search's traceback
    trials/000/request.json what the training was asked to be
    trials/000/trial.json   a finished training's totals
    trials/000/epochs.arrow its rows, one an epoch (Arrow IPC; `pandas.read_feather` reads it)
    trials/000/checkpoint.pt, model.pt
    model.pt, images.npz    the chosen model and what it reconstructs and samples
    curves.arrow            evaluations of finished models with some latents only
    claim-000001            which process runs it, while one does (`benchmark.store.claims`)
RESULTS/trainings/<key>/    a plain training that several searches share (`benchmark.suite.shared_trainings`)

search.json and trial.json hold their own checksum, and the digests of the files that they are the last word on.
"""

from benchmark.store.frames import ResultsStore as ResultsStore
