"""The results store: one folder per search, read into pandas frames.

RESULTS/searches/<search_id>/
    search.json             settings, status, error, environment and, at the end, the totals of the search
    error.txt               the traceback of a failed search
    trials/000/request.json the arguments of the training
    trials/000/trial.json   the totals of a finished training
    trials/000/epochs.arrow one row per epoch (Arrow IPC; `pandas.read_feather` reads it)
    trials/000/checkpoint.pt, model.pt
    model.pt, images.npz    the chosen model, its reconstructions and samples
    curves.arrow            evaluations of finished models with some latents only
    claim-000001            the process that runs the search now (`benchmark.store.claims`)
RESULTS/trainings/<key>/    a plain training that several searches share (`benchmark.suite.shared_trainings`)

search.json and trial.json hold a checksum of themselves and the digests of the final files beside them.
"""

from benchmark.store.sources.results import ResultsStore as ResultsStore
