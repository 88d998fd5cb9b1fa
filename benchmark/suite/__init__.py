"""A suite of searches: the plan, the problem that a searcher is handed, and who runs what where."""
