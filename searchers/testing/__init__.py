"""What a searcher of your own can be tested with: the contract suite, and the toy problem that it uses.

    class TestDescending(SearcherContract):
        searcher = Descending()

in a test file is enough for pytest; `latentbench check my.module:Descending` needs no pytest.
"""

from searchers.testing.contract import SearcherContract as SearcherContract
from searchers.testing.problem import ToyProblem as ToyProblem
