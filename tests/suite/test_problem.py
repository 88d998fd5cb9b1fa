"""The searcher contract as real runs: all that a method may ask for, and that a kill changes no bit of its results."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract_runs import RUNS, START, Continuing, Growing, LearnedPrior, Looking, Replacing, Scripted, Shrinking, kl_to
from small_bench import DATASET, EVALUATOR, SETTINGS, Killed, SmallResults, assert_same, spec_of
from torch import Generator, Tensor

from benchmark.metrics.assessment import assess
from benchmark.suite import problem as problem_module
from benchmark.training.clock import Clock
from benchmark.training.loop import train
from benchmark.training.model_view import ModelView
from benchmark.training.rng import Purpose, stream_seed
from benchmark.training.state import TrainingState
from searchers.base import Controller
from searchers.parts.objectives import kl_per_dim
from searchers.quantities import FINAL_METRICS


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SmallResults]:
    """Each run, undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    results = {name: SmallResults(folder / name) for name in RUNS}
    for name, (searcher, _) in RUNS.items():
        results[name].search(searcher)
    return results


@pytest.mark.parametrize(("name", "killed_at"), [(name, at) for name, (_, ats) in RUNS.items() for at in ats])
def test_killed_and_resumed_equals_undisturbed(
    name: str, killed_at: tuple[int, int], tmp_path: Path, whole: dict[str, SmallResults]
) -> None:
    results = SmallResults(tmp_path)
    with pytest.raises(Killed):
        results.search(RUNS[name][0], killed_at=killed_at)
    done = results.epochs.copy()
    assert done[-1] == killed_at
    before = results.store.curves()
    results.epochs.clear()
    results.search(RUNS[name][0])
    assert not {(trial, epoch) for trial, epoch in results.epochs if (trial, epoch) in done} - _last(whole[name])
    assert_same(results, whole[name])
    after = results.store.curves().merge(before, on=["trial", "epoch", "size", "eval_seconds"])
    assert len(after) == len(before)  # what has been evaluated is read back, its time included
    assert results.notices == []


def _last(results: SmallResults) -> set[tuple[int, int]]:
    """The last epochs of trainings, which are reported when a finished one is read back."""
    return set(results.store.trials()[["trial", "n_epochs"]].itertuples(index=False, name=None))


def _sizes(results: SmallResults) -> list[int]:
    return results.store.epochs()["latent_dim"].tolist()


def test_latents_come_and_go(whole: dict[str, SmallResults]) -> None:
    assert _sizes(whole["Growing"]) == [5, 7, 7, 8] and _sizes(whole["Shrinking"]) == [5, 3, 5, 5]
    ids = whole["Growing"].store.latents().query("epoch == 4")["latent_id"]
    assert ids.tolist() == list(range(8))
    ids = whole["Shrinking"].store.latents().query("epoch == 4")["latent_id"]
    assert ids.tolist() == [2, 4, 5, 6, 7]
    for name in ("Growing", "Shrinking"):
        (trial,) = whole[name].store.trials().itertuples()
        assert trial.start_latent_dim == START and trial.latent_dim == _sizes(whole[name])[-1]


def _state(controller: Controller) -> TrainingState:
    """A training of START latents before its first epoch."""
    results = SmallResults(Path("never-written"))
    return results.bench(spec_of()).run(results.folder(spec_of()).trial(0), 0, START, controller).state


def _train(state: TrainingState, after_epoch: Callable[[TrainingState], None]) -> None:
    train(state, SETTINGS, DATASET.train, EVALUATOR, (3, START), Clock(EVALUATOR.device), after_epoch)


def _states(controller: Controller) -> tuple[TrainingState, list[TrainingState]]:
    """The end of a training of START latents, and copies of its state after each epoch."""
    state, states = _state(controller), []
    _train(state, lambda state: states.append(copy.deepcopy(state)))
    return state, states


@pytest.mark.parametrize("controller", [Growing, Shrinking, Replacing])
def test_a_controllers_parameters_and_their_moments_follow_the_latents(
    controller: type[Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where there are as many latents as before."""
    own = controller()
    state, expected, found = _state(own), [], []

    def values() -> dict[str, Tensor]:
        moments = state.optimizer.state[own.weights]
        return {"weights": own.weights.detach(), "first": moments["exp_avg"], "second": moments["exp_avg_sq"]}

    def followed(indices: Sequence[int], n_added: int) -> None:
        fresh = {name: torch.full((n_added,), 2.0 if name == "weights" else 0.0) for name in values()}
        expected.append({name: torch.cat([old[list(indices)], fresh[name]]) for name, old in values().items()})
        controller.latents_kept(own, indices, n_added)

    monkeypatch.setattr(own, "latents_kept", followed)

    def look(state: TrainingState) -> None:
        if len(state.rows) in controller.decisions:
            found.append({name: value.clone() for name, value in values().items()})

    _train(state, look)
    assert len(found) == len(expected) == len(controller.decisions)
    for got, wanted in zip(found, expected, strict=True):
        assert all(torch.equal(got[name], wanted[name]) for name in wanted)
        assert (got["second"] > 0).any() and got["weights"].unique().numel() > 2


def test_what_is_added_changes_nothing_at_first() -> None:
    _, states = _states(Growing())
    grown, x = states[0].vae, DATASET.val.take(torch.arange(20)).float() / 255
    without = copy.deepcopy(grown)
    without.keep_latents(range(START))
    mean, _ = grown.encode(x)
    assert grown.latent_dim == START + 2 and (mean[:, START:].std(0) > 0).all()
    assert torch.equal(grown.decode(mean), without.decode(mean[:, :START]))
    assert not torch.equal(states[1].vae.decoder_in.weight[:, START:], grown.decoder_in.weight[:, START:])


def test_a_learned_prior_is_folded_into_the_model(whole: dict[str, SmallResults]) -> None:
    """Metrics before and after agree, with the closed form too, and samples are of N(0, 1)."""
    state, states = _states(LearnedPrior())
    unfolded, controller = states[-1].vae.eval(), states[-1].controller
    variance = controller.prior_variance().detach()
    assert state.vae.latent_dim == 4 and (variance - 1).abs().max() > 0.3
    x = DATASET.val.take(torch.arange(len(DATASET.val))).float() / 255
    with torch.no_grad():
        kl = float(kl_to(*unfolded.encode(x), variance.log()).sum() / len(x))
        assert float(kl_per_dim(*state.vae.encode(x)).sum() / len(x)) == pytest.approx(kl, rel=1e-4)
    assert state.rows[-1]["kl"] == pytest.approx(kl, rel=1e-4)
    z = torch.randn(9, 4, generator=Generator().manual_seed(0))
    torch.testing.assert_close(state.vae.eval().decode(z), unfolded.decode(z * variance.sqrt()), rtol=0, atol=1e-4)

    results = whole["LearnedPrior"]
    problem = results.problem(spec_of())
    trial = problem.train(START, LearnedPrior())
    again, last = problem.evaluate(trial, range(4)), trial.history.iloc[-1]
    assert again.metrics == trial.assessment.metrics and again.errors == trial.assessment.errors
    assert again.metrics["kl"] == pytest.approx(kl, rel=1e-4) and last["kl"] == pytest.approx(kl, rel=1e-4)
    (results.folder(spec_of()).path / "curves.arrow").unlink()  # as it was


def test_prefixes_are_rows_of_curves_and_charged(whole: dict[str, SmallResults]) -> None:
    curves, epochs = (getattr(whole["Looking"].store, frame)() for frame in ("curves", "epochs"))
    finished, curves = curves.tail(2), curves.head(-2)
    assert finished["split"].tolist() == ["val", "test"] and (finished["size"] == 4).all()
    assert curves[["epoch", "size"]].to_numpy().tolist() == [[epoch, size] for epoch in (1, 2, 3, 4) for size in (1, 3)]
    assert (curves["trial"] == 0).all() and (curves["search_id"] == spec_of().search_id).all()
    looked = curves.groupby("epoch")["eval_seconds"].sum()
    assert (epochs.set_index("epoch")["eval_seconds"] > looked).all()
    nll = curves.pivot(index="epoch", columns="size", values="recon_nll")
    assert nll.loc[4, 3] < nll.loc[4, 1] and (nll.loc[:, 3] >= epochs.set_index("epoch")["recon_nll"] - 0.1).all()
    spent, search = epochs["eval_seconds"].sum(), whole["Looking"].store.searches().iloc[0]
    assert search["eval_seconds"] == pytest.approx(spent + finished["eval_seconds"].sum())  # each evaluation once
    assert finished["eval_seconds"].iloc[1] == 0 and (curves["split"] == "val").all()


def test_a_prefix_is_the_model_without_the_rest() -> None:
    state, _ = _states(Looking())
    view = ModelView(state.vae, EVALUATOR, Clock(EVALUATOR.device), 1)
    found = view.evaluate([1, 2])
    row = assess(EVALUATOR, state.vae, torch.tensor([False, True, True, False]), stream_seed(Purpose.ASSESSMENT, 1))
    assert found.metrics == {name: row[name] for name in FINAL_METRICS} and view.curve[0]["size"] == found.size == 2
    assert found.metrics != view.evaluate([0, 1]).metrics
    for wrong in ([], [0, 0], [4], [-1]):
        with pytest.raises(ValueError, match=r"expected different ones in 0\.\.3"):
            view.evaluate(wrong)


def test_losses_are_those_of_whole_assessments() -> None:
    """With as many draws; with fewer decodes each image once, or the first images only."""
    state, _ = _states(Looking())
    view, n = ModelView(state.vae, EVALUATOR, Clock(EVALUATOR.device), 1), len(EVALUATOR.split)
    keeps = [range(1), range(3), (1, 3)]
    whole = [view.evaluate(keep) for keep in keeps]
    found = view.losses(keeps, decodes=EVALUATOR.draws * n)
    known = ("recon_nll", "recon_sse", "kl", "elbo")
    for one, expected in zip(found, whole, strict=True):
        assert one.size == expected.size
        np.testing.assert_allclose(one.losses, expected.losses, rtol=1e-5)
        for name in FINAL_METRICS:
            assert (
                one.metrics[name] == pytest.approx(expected.metrics[name], rel=1e-5)
                if name in known
                else (np.isnan(one.metrics[name]))
            )
        assert one.errors["elbo"] == pytest.approx(expected.errors["elbo"], rel=1e-3)
    assert [row["draws"] for row in view.curve[3:]] == [EVALUATOR.draws] * 3
    (once,) = view.losses([range(4)], decodes=n)
    assert len(once.losses) == n and view.curve[-1]["draws"] == 1 and np.isnan(once.errors["elbo"])
    assert sum(view.seconds) == pytest.approx(sum(row["eval_seconds"] for row in view.curve))
    with pytest.raises(ValueError, match=r"expected different ones in 0\.\.3"):
        view.losses([range(2), [4]], decodes=n)


def test_losses_of_some_images_are_spread_over_the_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.metrics.assessment.LEAST_IMAGES", 1)
    state, _ = _states(Looking())
    view = ModelView(state.vae, EVALUATOR, Clock(EVALUATOR.device), 1)
    (found,) = view.losses([range(4)], decodes=6)
    some = EVALUATOR.split.sample(6)
    mean, logvar = state.vae.encode(some.take(torch.arange(6)).float() / 255)
    assert len(found.losses) == 6 and len(EVALUATOR.split) > 2 * 6 and int(some.rows[-1]) > len(EVALUATOR.split) // 2
    assert found.metrics["kl"] == pytest.approx(float(kl_per_dim(mean, logvar).sum().detach() / 6), rel=1e-5)


def test_nested_compares_and_cuts(whole: dict[str, SmallResults]) -> None:
    results = whole["Nested"]
    compared = results.store.curves().query("epoch < 4")
    assert sorted(compared["size"].unique()) == list(range(2, 9)) and set(compared["epoch"]) == {1, 2}
    epochs, search = results.store.epochs(), results.store.searches().iloc[0]
    found = epochs["ctl_size"].tolist()[1]
    assert epochs["latent_dim"].tolist() == [8, 8, found, search["latent_dim"]]
    assert search["latent_dim"] <= found < 8  # less those out of use


def test_sensitivity_is_the_jacobians() -> None:
    state, _ = _states(Looking())
    view = ModelView(state.vae, EVALUATOR, Clock(EVALUATOR.device), 0)
    split = EVALUATOR.split.sample(6)
    z, _ = state.vae.encode(split.take(torch.arange(6)).float() / 255)

    def pixels(z: Tensor) -> Tensor:
        return torch.sigmoid(state.vae.decode(z[None]))[0].flatten()

    jacobians = torch.stack([torch.autograd.functional.jacobian(pixels, one) for one in z])  # [6, pixels, n]
    torch.testing.assert_close(view.sensitivity(6), jacobians.square().sum(1).mean(0), rtol=1e-4, atol=1e-7)
    assert view.sensitivity(3).shape == (4,) and not torch.equal(view.sensitivity(3), view.sensitivity(6))
    assert len(view.seconds) == 4 and view.posterior().mean.shape == (len(EVALUATOR.split), 4)


# --- training on


def test_training_on_is_charged_its_own_epochs(whole: dict[str, SmallResults]) -> None:
    trials, search = whole["Continuing"].store.trials(), whole["Continuing"].store.searches().iloc[0]
    assert trials["n_epochs"].tolist() == [2, 2, 3, 2] and search["n_epochs"] == 9
    assert trials["start_latent_dim"].tolist() == [6, 3, 3, 2] and trials["latent_dim"].tolist() == [6, 3, 2, 2]
    assert trials["images_seen"].nunique() == 2 and search["images_seen"] == trials["images_seen"].sum()
    assert search["train_seconds"] == pytest.approx(trials["train_seconds"].sum())
    curves = whole["Continuing"].store.curves()
    ends = [
        [trial, epoch, size] for trial, epoch, size in ((0, 2, 6), (1, 2, 3), (2, 3, 2), (3, 2, 2)) for _ in range(2)
    ]
    asked = [[1, 2, 2], [2, 3, 1], [2, 3, 2]]
    assert curves[["trial", "epoch", "size"]].to_numpy().tolist() == [*ends, *asked]
    prefixes = curves.tail(3)["eval_seconds"].sum()
    assert search["eval_seconds"] == pytest.approx(trials["eval_seconds"].sum() + prefixes)
    assert whole["Continuing"].store.epochs()["wall_seconds"].is_monotonic_increasing
    names = {path.name for path in (whole["Continuing"].path / "searches").rglob("*")}
    assert not names & {"optimizer.pt", "checkpoint.pt"}


@pytest.mark.parametrize("keep", [None, (0, 2, 5)])
def test_training_on_starts_with_the_others_model_and_moments(
    keep: tuple[int, ...] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[TrainingState] = []

    def watched(state: TrainingState, *rest: Any) -> None:
        seen.append(copy.deepcopy(state))
        train(state, *rest)
        seen.append(copy.deepcopy(state))

    monkeypatch.setattr(problem_module, "train", watched)
    problem = SmallResults(tmp_path).problem(spec_of(), keeps_optimizers=True)
    first = problem.train(6, epochs=2)
    on = problem.train(6 if keep is None else 3, epochs=2, start=(first, keep))
    _, end, start, _ = seen
    if keep is not None:
        end.remove_all_but(keep)
    for (name, own), other in zip(start.vae.named_parameters(), end.vae.parameters(), strict=True):
        assert torch.equal(own, other), name
        moments, others = start.optimizer.state[own], end.optimizer.state[other]
        assert all(torch.equal(moments[key], others[key]) for key in ("step", "exp_avg", "exp_avg_sq")), name
    assert start.latent_ids == list(range(start.vae.latent_dim)) and start.rows == [] and start.train_flops == 0
    assert on.history["train_loss"].iloc[0] < first.history["train_loss"].iloc[0]


def test_a_training_without_moments_is_repeated_unless_it_was_the_searchers_own(tmp_path: Path) -> None:
    """A suite before has done the shared one, without a searcher that goes on; its copy costs nothing."""
    earlier = SmallResults(tmp_path)
    earlier.problem(spec_of("other")).train(6, epochs=2)
    results, whole = SmallResults(tmp_path), SmallResults(tmp_path / "whole")
    for one in (results, whole):
        one.search(Continuing())
    assert [line.partition(" ")[2] for line in results.notices] == [
        "repeats a training that kept no optimizer state, to go on from it"
    ]
    assert whole.notices == [] and results.epochs.count((0, 1)) == 0
    models, others = results.models(), whole.models()
    assert all(torch.equal(value, others[name]) for name, value in models.items() if name[0] != "0")
    problem = SmallResults(tmp_path / "without").problem(spec_of())
    own = problem.train(START, Growing())
    with pytest.raises(ValueError, match="kept no optimizer state; set `continues` on the searcher"):
        problem.train(own.latent_dim, start=(own, None))
    with pytest.raises(ValueError, match="got latent_dim 3 and 2 latents to keep"):
        problem.train(3, start=(own, (0, 1)))


# --- data


def test_posteriors_are_of_the_first_validation_images(whole: dict[str, SmallResults], tmp_path: Path) -> None:
    problem = SmallResults(tmp_path).problem(spec_of())
    trial = problem.train(4, epochs=1)
    mean, logvar = problem.encode(trial, 7)
    x = EVALUATOR.split.take(torch.arange(7)).float() / 255
    torch.testing.assert_close((mean, logvar), problem.model(trial).encode(x))
    assert problem.encode(trial, 10**6).mean.shape == (len(EVALUATOR.split), 4)


def test_images_are_training_images_of_the_seed(tmp_path: Path) -> None:
    results = SmallResults(tmp_path)
    first, again, other = (results.problem(spec_of(seed=seed)).images(40) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    known = {tuple(image) for image in (DATASET.train.images[DATASET.train.rows].flatten(1)).tolist()}
    drawn = {tuple(image) for image in (first * 255).round().to(torch.uint8).flatten(1).tolist()}
    assert first.shape == (40, 1, 4, 4) and drawn <= known and len(drawn) > 35 and first.max() <= 1
    assert len(results.problem(spec_of()).images(10**6)) == len(DATASET.train)


def test_twonn_finds_the_dimension_of_the_images(whole: dict[str, SmallResults]) -> None:
    assert whole["TwoNN"].store.trials()["start_latent_dim"].tolist() in ([2, 3], [2, 4], [2, 5])
    assert np.isfinite(whole["TwoNN"].store.epochs()["recon_nll"]).all()
