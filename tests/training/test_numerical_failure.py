"""What numbers can do to a search: it ends, done or failed with its reason, and no comparison hides a missing value."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from commands import benchmark
from PIL import Image
from report_frames import group, search
from torch import Tensor

from benchmark.config.protocol import Evaluation
from benchmark.datasets.base import split_dataset
from benchmark.metrics.classifier import load as classifier
from benchmark.metrics.evaluation import Evaluator
from benchmark.store import ResultsStore
from reports.__main__ import main as reports
from reports.analysis.comparison import cautions, comparison, stat
from reports.data.groups import read_groups
from reports.data.measured import measured
from reports.data.names import label
from reports.data.quantities import SHOWN_METRICS
from searchers.in_training.geco_l0arm import LAMBDA_BOUNDS, GecoL0Arm
from searchers.parts.likelihoods import Bernoulli
from searchers.quantities import METRICS
from searchers.testing import ToyProblem

SEARCHERS = ["grid", "random", "tpe", "tolerance", "halving", "ald", "ald@floor", "sparsity", "sparsity@blind"]
SEARCHERS += ["nested", "ard", "sigma", "beta"]
FROM_IMAGES = ["pca", "twonn", "mle", "gride", "fondue"]
GECO = ["geco-l0arm", "geco-l0arm@geco", "geco-l0arm@never", "geco-l0arm@always"]
BAD = ["bad:NaNLoss", "bad:InfinityLoss", "bad:OneOfTwo", "bad:Raises"]
PROTOCOL = """
[dataset]
name = "folder:{data}"
size = 8
[backbone]
name = "mlp"
hidden = [16]
[training]
epochs = 6
batch_size = 8
learning_rate = {rate}
[space]
low = 2
high = 8
sizes = [2, 4]
[searchers.ald]
patience = 1
window = 2
slow_window = 2
[searchers."ald@floor"]
start_latent_dim = 3
patience = 1
decrease = 50
stop_rule = false
[searchers.sparsity]
stable_epochs = 1
[searchers."sparsity@blind"]  # every latent counts as inactive
stable_epochs = 1
max_mean_variance = 1e9
min_variance_mean = 1e-9
[searchers.mle]
n_neighbours = 4
[searchers.fondue]
n_neighbours = 4
[searchers.geco-l0arm]
[searchers."geco-l0arm@geco"]
baseline = "geco"
[searchers."geco-l0arm@never"]
tau = 1e-9
[searchers."geco-l0arm@always"]
tau = 1e9
"""
MODULE = '''
import math

from searchers.base import KEEP_ALL, Choice, Controller, Searcher
from searchers.parts.objectives import Loss
from searchers.selection import choose


class Times(Controller):
    """A loss that is multiplied by a factor from the second epoch on."""

    def __init__(self, factor):
        super().__init__()
        self.factor, self.epoch = factor, 1

    def loss(self, vae, x, generator):
        loss = super().loss(vae, x, generator)
        return loss if self.epoch == 1 else Loss(loss.total * self.factor)

    def after_epoch(self, history, model):
        self.epoch += 1
        return KEEP_ALL


class NaNLoss(Searcher):
    def search(self, problem):
        return Choice(problem.train(4, Times(math.nan)))


class InfinityLoss(Searcher):
    def search(self, problem):
        return Choice(problem.train(4, Times(math.inf)))


class OneOfTwo(Searcher):
    def search(self, problem):
        return choose(problem, [problem.train(2, Times(math.nan)), problem.train(4)])


class Raises(Searcher):
    def search(self, problem):
        problem.train(2)
        raise ZeroDivisionError("1 / 0")
'''


def _folder(path: Path, images: Sequence[Any], classes: int) -> None:
    for number, pixels in enumerate(images):
        target = path / str(number % classes) / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), pixels, np.uint8)).save(target)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    noise = np.random.default_rng(0).integers(256, size=(20, 8, 8))
    _folder(folder / "grey", [128] * 40, classes=2)
    _folder(folder / "few", noise, classes=1)  # two images in the validation and the test split
    for name, data, rate in (("grey", "grey", 0.05), ("few", "few", 1e-3), ("hot", "few", 0.99)):
        (folder / f"{name}.toml").write_text(PROTOCOL.format(data=data, rate=rate))
    (folder / "bad.py").write_text(MODULE)
    return folder


def _run(work: Path, name: str, searchers: list[str]) -> tuple[int, ResultsStore]:
    arguments = ["--protocol", f"{name}.toml", "--searchers", *searchers, "--seeds", 0, "--results", name]
    done = benchmark("run", *arguments, cwd=work, cache=work / "cache")
    assert done.stderr == "", done.stderr  # no traceback, and no warning
    return done.returncode, ResultsStore(work / name)


@pytest.fixture(scope="module")
def grey(work: Path) -> ResultsStore:
    """Every image the same, and searchers that fail among the others."""
    code, store = _run(work, "grey", [*SEARCHERS, *FROM_IMAGES, *GECO, *BAD])
    assert code == 1
    return store


@pytest.fixture(scope="module")
def few(work: Path) -> ResultsStore:
    """Twenty images of one class."""
    code, store = _run(work, "few", [*SEARCHERS, *FROM_IMAGES, *GECO])
    assert code == 0
    return store


@pytest.fixture(scope="module")
def hot(work: Path) -> ResultsStore:
    """A learning rate that nothing survives unharmed."""
    code, store = _run(work, "hot", [*SEARCHERS, *FROM_IMAGES, *GECO])
    assert code == 1
    return store


@pytest.mark.parametrize("name, count", [("grey", 26), ("few", 22), ("hot", 22)])
def test_every_search_ends_with_numbers_or_a_reason(name: str, count: int, request: pytest.FixtureRequest) -> None:
    store: ResultsStore = request.getfixturevalue(name)
    searches = store.searches()
    assert len(searches) == count and set(searches["status"]) <= {"done", "failed"}
    done, failed = (searches[searches["status"] == status] for status in ("done", "failed"))
    assert failed["error"].str.match(r"\w+Error: .+").all() and failed["test_recon_nll"].isna().all()
    sure = [f"test_{metric}" for metric in METRICS if "silhouette" not in metric]
    assert np.isfinite(done[sure].to_numpy(float)).all()
    (group,) = read_groups(store, name)
    said = " ".join((*cautions(group), *measured(group)))
    for _, row in done.iterrows():
        for metric in SHOWN_METRICS:
            missing = rf"{re.escape(label(row['searcher']))} has no value of [^.]*{re.escape(metric.label)}"
            nowhere = f"No search has: [^.]*{re.escape(metric.label)}"
            assert bool(re.search(f"{missing}|{nowhere}", said)) == bool(np.isnan(row[metric.tested]))


def test_a_loss_that_is_no_number_ends_its_training_and_no_other(grey: ResultsStore) -> None:
    searches, epochs, trials = grey.searches().set_index("searcher"), grey.epochs(), grey.trials()
    for searcher, loss in (("bad:NaNLoss", "nan"), ("bad:InfinityLoss", "inf")):
        error = searches.loc[searcher, "error"]
        assert error.startswith("FloatingPointError: the loss is ") and "in epoch 2; lower the learning rate" in error
        losses = epochs.loc[epochs["searcher"] == searcher, "train_loss"]
        assert len(losses) == 2 and math.isfinite(losses.iloc[0]) and not math.isfinite(losses.iloc[1]), loss
        assert trials.loc[trials["searcher"] == searcher, "status"].tolist() == ["failed"]
    assert searches.loc["bad:Raises", ["status", "error"]].tolist() == ["failed", "ZeroDivisionError: 1 / 0"]
    assert (searches.loc[SEARCHERS, "status"] == "done").all()


def test_equal_images_have_no_dimension(grey: ResultsStore) -> None:
    errors = grey.searches().set_index("searcher").loc[FROM_IMAGES, "error"]
    assert errors["pca"] == "ValueError: 32 images are all the same; expected different ones"
    for name in FROM_IMAGES[1:]:
        assert errors[name].startswith("ValueError: got 1 different points of 32; expected at least "), name


def test_a_diverged_training_ranks_last(grey: ResultsStore) -> None:
    row = grey.searches().set_index("searcher").loc["bad:OneOfTwo"]
    assert (row["status"], row["chosen_trial"], row["latent_dim"], row["pareto"]) == ("done", 1, 4, [1])
    trials = grey.trials().query("searcher == 'bad:OneOfTwo'")
    assert trials["status"].tolist() == ["failed", "done"] and trials["recon_nll"].isna().tolist() == [True, False]


def test_lambda_stays_in_its_bounds(grey: ResultsStore, few: ResultsStore, hot: ResultsStore) -> None:
    low, high = LAMBDA_BOUNDS
    for store in (grey, few, hot):
        epochs = store.epochs()
        multiplier = epochs.loc[epochs["searcher"].str.startswith("geco-l0arm"), "ctl_lambda"].dropna()
        assert len(multiplier) > 3 and multiplier.between(low * 0.999, high * 1.001).all()
    assert multiplier.max() == pytest.approx(high, rel=1e-3)  # it did explode


def test_a_bound_that_cannot_be_met_closes_nothing(grey: ResultsStore) -> None:
    assert grey.searches().set_index("searcher").loc["geco-l0arm@never", "latent_dim"] == 8
    rows = grey.epochs().query("searcher == 'geco-l0arm@never'")
    assert (rows["ctl_hit_rate"] == 0).all() and (rows["ctl_open_gates"] == 8).all()


def test_a_bound_that_is_always_met_closes_all_and_fails(grey: ResultsStore) -> None:
    row = grey.searches().set_index("searcher").loc["geco-l0arm@always"]
    reason = "ArithmeticError: the controller closed every latent; a model needs one: loosen its constraint"
    assert (row["status"], row["error"]) == ("failed", reason)
    rows = grey.epochs().query("searcher == 'geco-l0arm@always'")
    assert rows["ctl_open_gates"].iloc[-1] == 0 and rows["ctl_hit_rate"].iloc[-1] == 1


def test_sparsity_with_every_latent_inactive_keeps_two_at_its_end(grey: ResultsStore) -> None:
    rows = grey.epochs().query("searcher == 'sparsity@blind'")
    assert (rows["ctl_active"] == 0).all() and rows["latent_dim"].tolist() == [8] * 5 + [2]


def test_ald_at_its_floor_goes_no_further(grey: ResultsStore) -> None:
    rows = grey.epochs().query("searcher == 'ald@floor'")
    assert rows["latent_dim"].tolist() == [3, 2]  # and ends


def test_two_images_have_no_silhouette_and_the_report_says_so(
    few: ResultsStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searches = few.searches()
    assert searches["test_silhouette"].isna().all() and (few.trials()["status"] == "done").all()
    assert reports(["--results", str(few.path), "--out", str(tmp_path / "report")]) == 0
    assert capsys.readouterr().err == ""
    for page in ("comparison.md", "index.html"):
        text = (tmp_path / "report" / page).read_text()
        assert "No search has: silhouette less that of noise." in text, page
    table = pd.read_csv(tmp_path / "report" / "comparison.csv")
    assert table["test_silhouette_excess_mean"].isna().all() and table["test_recon_nll_mean [nats/image]"].notna().all()


# --- the comparison


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
@pytest.mark.parametrize("metric", SHOWN_METRICS, ids=lambda metric: metric.column)
def test_a_missing_value_is_named_and_not_averaged(metric: Any, value: float | None) -> None:
    rows = [search("ald", seed, **{metric.tested: 2.0 + seed}) for seed in (0, 1)]
    own = group([*rows, search("ald", 2, **{metric.tested: value})])
    (note,) = (note for note in cautions(own) if "no value" in note)
    assert note.startswith(f"ALD has no value of {metric.label} in 1 of 3 finished searches")
    assert comparison([own])[stat(metric, "mean")].tolist() == [2.5]


# --- one by one


class _Copies(torch.nn.Module):
    """Every image to one point, that point to one image: a collapse without any noise."""

    latent_dim = 3
    sampler = None

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.image, self.likelihood = image, Bernoulli()

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(x), 3), torch.full((len(x), 3), -500.0)  # exp(-250) is 0 in float32

    def decode(self, z: Tensor) -> Tensor:
        return torch.where(self.image > 0, 200.0, -200.0).expand(len(z), *self.image.shape)


def test_a_full_collapse_of_equal_images() -> None:
    image = (torch.arange(64) % 3 == 0).reshape(1, 8, 8)
    images = (image * 255).to(torch.uint8).repeat(60, 1, 1, 1)
    dataset = split_dataset("equal", images, torch.arange(60) % 2, n_classes=2)
    features = classifier(dataset, torch.device("cpu"))
    evaluator = Evaluator(dataset.train, 2, features, Evaluation(), torch.device("cpu"))
    metrics, latents = evaluator.evaluate(_Copies(image[None][0]), None, torch.Generator().manual_seed(0))
    assert metrics["fid_recon"] == pytest.approx(0, abs=1e-6) and metrics["fid_gen"] == pytest.approx(0, abs=1e-6)
    assert math.isnan(metrics["silhouette"])  # fewer distinct points than clusters
    assert metrics["active_units"] == 0 and (latents["latent_mean_variance"] == 0).all()
    assert metrics["recon_nll"] == metrics["recon_sse"] == 0


@pytest.mark.parametrize("baseline", ["elbo", "geco"])
def test_a_diverged_baseline_sets_no_bound(baseline: str) -> None:
    class Diverges(ToyProblem):
        def logged(self, row: dict[str, Any]) -> dict[str, Any]:
            return row | {"recon_sse": math.nan if row["epoch"] == self.epochs else 0.2}

    problem = Diverges()
    if baseline == "geco":
        train = problem.train

        def diverging(*arguments: Any, **more: Any) -> Any:
            trial = train(*arguments, **more)
            trial.history.loc[trial.history.index[-1], "ctl_error_average"] = math.inf
            return trial

        problem.train = diverging  # type: ignore[method-assign]
    with pytest.raises(FloatingPointError, match=r"the baseline's error is (nan|inf); lower the learning rate"):
        GecoL0Arm(start_latent_dim=8, baseline=baseline).search(problem)
    assert len(problem.asked) == 1  # no gated training without a bound
