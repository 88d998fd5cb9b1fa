"""Protocols that extend others, and values of the command line laid over them."""

from pathlib import Path
from typing import Any

import pytest

from benchmark.config.protocol import Named, Protocol, load_protocol, override
from benchmark.config.tables import PROTOCOLS, assigned, bundled_protocols, laid_over, parse_assignment
from benchmark.errors import InputError

BASE = 'dataset.name = "digits"\nbackbone.name = "mlp"\nbackbone.hidden = [9]\ntraining.batches = 100\n'


@pytest.fixture
def protocols(tmp_path: Path) -> Path:
    for name, text in {
        "base": BASE + "[searchers.ald]\npatience = 3\nwindow = 9\n",
        "middle": 'extends = "base.toml"\nseeds = [1]\n[training]\nbatch_size = 8\n[searchers.ald]\nwindow = 7\n',
        "top": 'extends = "middle.toml"\nsummary = "top"\nseeds = [5, 6]\n',
        "bundled": 'extends = "digits"\n[training]\nepochs = 3\n',
        "circle": 'extends = "round.toml"\n',
        "round": 'extends = "circle.toml"\n',
        "itself": 'extends = "itself.toml"\n',
        "list": 'extends = ["base.toml"]\n',
        "nowhere": 'extends = "digit"\n',
        "broken": 'extends = "middle.toml"\n[training]\nepoch = 3\n',
    }.items():
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


def _load(protocols: Path, name: str) -> Protocol:
    return load_protocol(str(protocols / f"{name}.toml"))


def test_studies_score_sizes_alone_too() -> None:
    studies = [name for name in bundled_protocols() if name.startswith("study-")]
    assert studies and all(load_protocol(name).size_only for name in studies)


def test_a_chain_is_merged_key_by_key(protocols: Path) -> None:
    top = _load(protocols, "top")
    assert (top.name, top.summary, top.seeds) == ("top", "top", (5, 6))
    assert top.backbone == Named("mlp", {"hidden": [9]})
    assert (top.training.batches, top.training.batch_size) == (100, 8)
    assert top.searchers == {"ald": {"patience": 3, "window": 7}}


def test_a_file_extends_a_bundled_protocol(protocols: Path) -> None:
    digits, own = load_protocol("digits"), _load(protocols, "bundled")
    assert own.training.epochs == 3 != digits.training.epochs and own.training.batch_size == digits.training.batch_size
    assert (own.dataset, own.searchers, own.space) == (digits.dataset, digits.searchers, digits.space)


def test_bundled_protocols_extend_one_another() -> None:
    base, mnist = load_protocol("ald-fashionmnist"), load_protocol("ald-mnist")
    assert mnist.run == base.run == ("grid", "ald@100", "ald@80", "ald@64", "ald@full", "ald@retrain")
    assert (mnist.training, mnist.seeds) == (base.training, base.seeds) and mnist.space != base.space


@pytest.mark.parametrize(
    "name, message",
    [
        ("circle", "protocol circle extends itself: circle -> round -> circle; remove one extends"),
        ("itself", "protocol itself extends itself: itself -> itself; remove one extends"),
        ("list", "protocol list: extends is ['base.toml']; expected the name of one protocol"),
        ("nowhere", "unknown protocol 'digit'; did you mean 'digits'?"),
        ("broken", "protocol broken: training: unknown setting 'epoch'; did you mean 'epochs'?"),
    ],
)
def test_extends_that_does_not_work(protocols: Path, name: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        _load(protocols, name)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "above, expected",
    [
        ({"seeds": [1]}, {"seeds": [1], "dataset": {"name": "a", "size": 1}, "training": {"batches": 9, "scale": 1}}),
        ({"training": {"scale": 2}}, {"dataset": {"name": "a", "size": 1}, "training": {"batches": 9, "scale": 2}}),
        ({"training": {"epochs": 2}}, {"dataset": {"name": "a", "size": 1}, "training": {"epochs": 2, "scale": 1}}),
        ({"dataset": {"name": "b"}}, {"dataset": {"name": "b"}, "training": {"batches": 9, "scale": 1}}),
        ({"dataset": {"name": "a:c"}}, {"dataset": {"name": "a:c", "size": 1}, "training": {"batches": 9, "scale": 1}}),
        ({"dataset": {"size": 2}}, {"dataset": {"name": "a", "size": 2}, "training": {"batches": 9, "scale": 1}}),
        ({"training": 3}, {"dataset": {"name": "a", "size": 1}, "training": 3}),
    ],
)
def test_laid_over(above: dict[str, Any], expected: dict[str, Any]) -> None:
    below = {"dataset": {"name": "a", "size": 1}, "training": {"batches": 9, "scale": 1}}
    assert laid_over(below, above) == expected
    assert below == {"dataset": {"name": "a", "size": 1}, "training": {"batches": 9, "scale": 1}}


@pytest.mark.parametrize(
    "text, table",
    [
        ("training.batch_size=128", {"training": {"batch_size": 128}}),
        ("space.sizes=[4, 8]", {"space": {"sizes": [4, 8]}}),
        (" training.schedule = cosine ", {"training": {"schedule": "cosine"}}),
        ('training.schedule="cosine"', {"training": {"schedule": "cosine"}}),
        ("dataset.name=folder:/a=b", {"dataset": {"name": "folder:/a=b"}}),
        ("searchers.ald@100.patience=3", {"searchers": {"ald@100": {"patience": 3}}}),
        ('searchers."a.b:C".size=3', {"searchers": {"a.b:C": {"size": 3}}}),
        ("searchers.grid={sampling = false}", {"searchers": {"grid": {"sampling": False}}}),
        ("seeds=[1, 2", {"seeds": "[1, 2"}),
    ],
)
def test_assignments(text: str, table: dict[str, Any]) -> None:
    assert parse_assignment(text) == table


@pytest.mark.parametrize("text", ["", "training.epochs", "=3", ".a=3", "a.=3", "a..b=3", 'a"b=3'])
def test_what_is_no_assignment(text: str) -> None:
    with pytest.raises(InputError, match=r"set is '.*'; expected KEY=VALUE, such as training.epochs=3"):
        parse_assignment(text)


def test_override() -> None:
    protocol = load_protocol("manifold")
    assert override(protocol) == protocol
    assert override(protocol, {"dataset": {"name": "manifold"}, "backbone": {"name": "mlp"}}) == protocol
    changed = override(
        protocol, {"dataset": {"name": "digits"}}, {"backbone": {"name": "conv"}}, assigned("training.epochs", 3)
    )
    assert changed.dataset == Named("digits") and changed.backbone == Named("conv")  # without the other's options
    assert changed.training.epochs == 3 and changed.training.batch_size == protocol.training.batch_size
    assert override(protocol, {"training": {"scale": 0.5}}, {"training": {"scale": 0.25}}).training.scale == 0.25
    batches = load_protocol("geco-table1-mnist")
    assert batches.training.batches == 400_000
    changed = override(
        batches, parse_assignment("training.epochs=3"), parse_assignment("evaluation.features=inception")
    )
    assert (changed.training.epochs, changed.training.batches) == (3, None)
    assert changed.evaluation.features == "inception"


@pytest.mark.parametrize(
    "assignment, message",
    [
        ("training.epochs=0", "protocol digits: training: epochs is 0; expected at least 1"),
        ("training.epochs=many", "training: epochs is 'many'; expected int"),
        ("trainng.epochs=3", "unknown setting 'trainng'; did you mean 'training'?"),
        ("training.bach_size=3", "training: unknown setting 'bach_size'; did you mean 'batch_size'?"),
    ],
)
def test_override_that_does_not_fit(assignment: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        override(load_protocol("digits"), parse_assignment(assignment))
    assert message in str(caught.value)


def test_bundled_protocols_lie_in_small_folders_under_unique_names() -> None:
    files = list(PROTOCOLS.rglob("*.toml"))
    assert len(bundled_protocols()) == len(files) > 20
    assert list(bundled_protocols()) == sorted(path.stem for path in files)
    for folder in {path.parent for path in files}:
        assert len(list(folder.iterdir())) <= 12
