"""What a backbone or a data set of your own can be tested with, as `searchers.testing` does for a searcher.

    class TestNet(BackboneContract):
        backbone = Net()

    class TestSpectra(DatasetContract):
        load = staticmethod(load_spectra)

in a test file is enough for pytest; `latentbench check my.module:Net --kind backbone` needs no pytest.
"""

from benchmark.testing.backbones import BackboneContract as BackboneContract
from benchmark.testing.datasets import DatasetContract as DatasetContract
