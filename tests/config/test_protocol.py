"""Protocols from TOML: the bundled ones, and one line for what does not fit."""

import pytest

from benchmark.backbones.build import make_backbone
from benchmark.config.protocol import (
    DEFAULT_SEARCHERS,
    DEFAULT_SEEDS,
    Named,
    Training,
    dataset_protocol,
    load_protocol,
    parse_protocol,
    protocol_names,
)
from benchmark.datasets import DATASETS
from benchmark.errors import InputError
from benchmark.suite.plan import make_searcher, plan, searcher_class
from searchers import SEARCHERS
from searchers.whole_run.grid import Grid


@pytest.mark.parametrize("name", protocol_names())
def test_bundled_protocol(name: str) -> None:
    protocol = load_protocol(name)
    assert protocol.name == name and protocol.summary
    assert protocol.dataset.name in DATASETS
    make_backbone(protocol.backbone.name, protocol.backbone.options)
    for searcher in {*SEARCHERS, *protocol.searchers}:  # those with settings may be variants: ald@100
        make_searcher(searcher, protocol.searchers.get(searcher, {}))
    specs = plan(protocol, "f", protocol.run, protocol.seeds)
    assert len({spec.search_id for spec in specs}) == len(specs) == len(protocol.run) * len(protocol.seeds) > 0
    for name in (*SEARCHERS, *protocol.run):  # no table's start may lie below what it can shrink to
        assert make_searcher(name, protocol.searchers.get(name, {})).expected(protocol.space, 3, 0)


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_has_a_protocol(name: str) -> None:
    protocol = dataset_protocol(name)
    assert protocol.dataset.name == name and protocol.name in protocol_names()
    assert (protocol.run, protocol.seeds) == (DEFAULT_SEARCHERS, DEFAULT_SEEDS)
    assert dataset_protocol("folder:/a/b") == dataset_protocol("folder")


MINIMAL = '[dataset]\nname = "digits"\n[backbone]\nname = "mlp"\n'


def test_parse_protocol() -> None:
    text = f'summary = "s"\n{MINIMAL}hidden = [9]\n[training]\nepochs = 7\n[searchers.grid]\nsizes = [2, 3]\n'
    protocol = parse_protocol(text, "mine")
    assert (protocol.name, protocol.summary, protocol.training) == ("mine", "s", Training(epochs=7))
    assert protocol.backbone == Named("mlp", {"hidden": [9]}) and protocol.dataset == Named("digits")
    assert make_searcher("grid", protocol.searchers["grid"]) == Grid(sizes=(2, 3))


@pytest.mark.parametrize(
    "text, message",
    [
        ("[dataset", "protocol mine: not valid TOML"),
        ("", "dataset is None; expected a table with a name"),
        ('[dataset]\nname = "digits"\n', "backbone is None; expected a table with a name"),
        ("[dataset]\nname = 3\n", "dataset is {'name': 3}; expected a table with a name"),
        (MINIMAL + "[trainng]\nepochs = 3\n", "protocol mine: unknown setting 'trainng'; did you mean 'training'"),
        (MINIMAL + "[training]\nepoch = 3\n", "training: unknown setting 'epoch'; did you mean 'epochs'"),
        (MINIMAL + "[training]\nepochs = 0\n", "training: epochs is 0; expected at least 1"),
        (MINIMAL + "[training]\nlearning_rate = nan\n", "training: learning_rate is nan; expected a finite number"),
        (MINIMAL + "[training]\nepochs = true\n", "training: epochs is True; expected int"),
        (MINIMAL + '[evaluation]\nfeatures = "inceptoin"\n', "unknown features 'inceptoin'; did you mean 'inception'"),
        (MINIMAL + "[evaluation]\nmax_images = 1\n", "evaluation: max_images is 1; expected at least 2"),
        ("searchers = 3\n" + MINIMAL, "searchers is 3; expected"),
        ("training = 3\n" + MINIMAL, "training is 3; expected a table of settings"),
    ],
)
def test_protocol_that_does_not_fit(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_protocol(text, "mine")
    assert message in str(caught.value)


def test_unknown_protocol_and_searcher() -> None:
    with pytest.raises(InputError, match=r"unknown protocol 'digit'; did you mean 'digits'\?"):
        load_protocol("digit")
    with pytest.raises(InputError, match=r"unknown searcher 'gird'; did you mean 'grid'\?.*module:Class"):
        searcher_class("gird")
    with pytest.raises(InputError, match="cannot load searcher 'no_such_module:X'"):
        searcher_class("no_such_module:X")
    with pytest.raises(InputError, match="expected a subclass of searchers.base.Searcher"):
        searcher_class("searchers.base:Trial")
    with pytest.raises(InputError, match=r"searcher ald: unknown setting 'patince'; did you mean 'patience'\?"):
        make_searcher("ald", {"patince": 3})
    with pytest.raises(InputError, match=r"searcher random: n_trials is 0; expected at least 1"):
        make_searcher("random", {"n_trials": 0})


@pytest.mark.parametrize(
    "training, epochs",
    [
        (Training(epochs=7), 7),
        (Training(epochs=7, scale=0.25), 2),  # 1.75
        (Training(batches=104), 10),  # ten batches an epoch of 659 images
        (Training(batches=106), 11),
        (Training(batches=100, scale=0.5), 5),
        (Training(batches=3, batch_size=1000), 3),
        (Training(scale=1e-6), 1),
    ],
)
def test_budget_in_epochs(training: Training, epochs: int) -> None:
    assert training.with_epochs(659).epochs == epochs
