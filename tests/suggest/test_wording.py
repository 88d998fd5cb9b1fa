"""The sentences of `latentbench suggest`, from made-up rows."""

from typing import Any

import pytest

from benchmark.suggest.wording import answer, dimension_sentence, size_curve

NAN = float("nan")
NO_CURVE = "What half or twice as many would change, it cannot say: that takes many sizes (nested or grid)."
CURVE = {4: -150.0, 8: -120.0, 12: -110.0, 24: -101.0, 48: -100.0, 96: -100.5}  # latents are worth 100 nats


def _search(**values: Any) -> dict[str, Any]:
    chosen = {
        "choice_loss": 0.01,
        "choice_limit": 0.021,
        "choice_gap": 100.0,
        "choice_shown": True,
        "as_good": [24, 48],
    }
    chosen |= {"as_good": [24, 48]}
    sound = {"test_active_units": 24, "settled": None, "late_gain": 0.0, "pca_sse": 9.0, "test_recon_sse": 8.0}
    sound |= {"space": "4 to 128; grid 8, 16, 32", "space_high": 128, "rule": "smallest-good"}
    budget = {"scale": 1.0, "epochs": 40, "val_no_latents_nll": 200.0}
    return {
        "searcher": "nested",
        "seed": 3,
        "status": "done",
        "latent_dim": 24,
        "chosen_trial": 0,
        **chosen,
        **sound,
        **budget,
        **values,
    }


def _alone(**values: Any) -> dict[str, Any]:
    """Of a method that compares no sizes."""
    nothing = {"choice_loss": NAN, "choice_limit": None, "choice_gap": NAN, "choice_shown": NAN, "as_good": NAN}
    return _search(**{"searcher": "sparsity", **nothing, **values})


def _curves(sizes: dict[int, float] = CURVE, epoch: int = 30) -> list[dict[str, Any]]:
    return [{"trial": 0, "split": "val", "epoch": epoch, "size": size, "elbo": elbo} for size, elbo in sizes.items()]


def test_three_sentences_and_another_seed() -> None:
    assert answer(_search(), _curves()) == [
        "Take 24 latents: on images that training does not see they are 1.0 % behind the best size tried, "
        "at most 2.1 % with 95 % confidence (100 % is what latents are worth, 100 nats an image).",
        "Sizes 24 and 48 are as good: which one is chosen depends on the validation images that were drawn.",
        "About half as many (12) would lose a fair part (9.0 % of what latents are worth, 9 nats an image); "
        "about twice as many (48) would gain a little (1.0 % of what latents are worth, 1 nats an image).",
        "Another seed may give another size, which one training cannot show: --seed 4 tries one.",
    ]


def test_a_method_that_compares_no_sizes_claims_nothing() -> None:
    size, as_good, others, _ = answer(_alone(), _curves({24: -101.0}))
    assert size == "Take 24 latents: sparsity ended with them and has compared no sizes."
    assert as_good == "Which other sizes are as good it cannot say: nested or grid can, given enough epochs."
    assert others == "What half or twice as many would change, it cannot say: that takes many sizes (nested or grid)."


def test_the_best_size_itself() -> None:
    size, as_good, *_ = answer(_search(choice_loss=0.0, choice_limit=0.0, as_good=[24]), _curves())
    assert "no size that was tried is better (100 % is" in size
    assert as_good.startswith("Validation images drawn anew choose no other size; larger ones may do as well")


def test_latents_that_are_worth_nothing() -> None:
    size, _, others, *_ = answer(
        _search(choice_loss=NAN, choice_limit=NAN, choice_gap=-3.0), _curves({12: -203.0, 24: -203.0})
    )
    assert (
        size == "Take 24 latents, though no size that was tried is better on validation images than no latents at all."
    )
    assert others == NO_CURVE


@pytest.mark.parametrize(
    "as_good, named", [([8, 16, 24], "Sizes 8, 16 and 24 are"), ([8, 12, 16, 24, 48], "Sizes 8 to 48 are")]
)
def test_sizes_that_are_as_good(as_good: list[int], named: str) -> None:
    assert answer(_search(as_good=as_good), _curves())[1].startswith(named)


@pytest.mark.parametrize(
    "elbo, says",
    [
        (-100.5, "would gain hardly anything (0.5 %"),
        (-97.0, "would gain a little (3.9 %"),
        (-141.0, "would lose much (40 % of what latents are worth, 40 nats an image)"),
    ],
)
def test_words_for_amounts(elbo: float, says: str) -> None:
    assert says in answer(_search(), _curves({24: -101.0, 48: elbo, 96: -100.0}))[2]


def test_a_size_far_from_half_or_twice_stands_for_neither() -> None:
    sentence = answer(_search(), _curves({4: -150.0, 24: -101.0, 34: -100.0}))[2]
    assert sentence.startswith("About half as many were not assessed; about twice as many (34) would gain")


def test_a_size_that_lost_latents_after_it_was_assessed() -> None:
    sentence = answer(_search(latent_dim=22), _curves())[2]
    assert sentence.startswith("About half as many (12) would lose a fair part (9.0 %")
    assert sentence.endswith("1 nats an image); 24 stand for 22.")
    assert answer(_search(latent_dim=17), _curves({4: -150.0, 48: -100.0}))[2] == NO_CURVE  # no size is near


def test_the_curve_is_of_the_last_epoch_with_several_sizes_on_validation_data() -> None:
    rows = [*_curves({2: -9.0, 4: -8.0}, epoch=10), *_curves({2: -7.0, 4: -6.0, 8: NAN}, epoch=20)]
    rows += [*_curves({4: -5.0}, epoch=40), {**_curves({2: -1.0}, epoch=50)[0], "split": "test"}]
    rows += [{**row, "split": "test"} for row in _curves({2: -1.0, 4: -1.0}, epoch=50)]
    assert size_curve(rows, 0) == {2: -7.0, 4: -6.0}
    assert size_curve(_curves({4: -5.0}), 0) == size_curve([], 0) == {}
    probes = _curves({2: -1.0, 4: -1.0}, epoch=30)  # of other trainings than the chosen one
    assert size_curve([*probes, {**_curves({4: -5.0}, epoch=40)[0], "trial": 2}], 2) == {}


@pytest.mark.parametrize(
    "values, says",
    [
        ({"test_active_units": 2}, "Collapsed: 2 of 24 latents are in use. Latents out of use say nothing"),
        ({"test_active_units": 20}, "Unused latents: 4 of 24. They say nothing about an image"),
        ({"settled": False}, "Budget too short: size 24 was not yet stable. More epochs may give another size."),
        (
            {"late_gain": 0.08},
            "Still learning: the ELBO rose by 8.0 % of what latents are worth in the last tenth. A network",
        ),
        (
            {"test_recon_sse": 12.0},
            "Worse than PCA: squared error 12.0 against 9.0 of 24 principal components. A linear",
        ),
        ({"choice_shown": False}, "Not shown to be enough: size 24 was chosen by its mean loss alone. The validation"),
        ({"space_high": 24}, "Space too small: size 24 is the largest of the space. A larger size may"),
        ({"space": "24 to 64; grid 24"}, "Space too small: size 24 is the space's smallest. A smaller one may do"),
        (
            {"scale": 0.225, "epochs": 9},
            "A short training: 9 epochs at most, 22 % of the protocol's budget. More may give",
        ),
    ],
)
def test_doubts_follow_the_sentences(values: dict[str, Any], says: str) -> None:
    doubts = answer(_search(**values), _curves())[3:]
    assert len(doubts) == 2 and doubts[0].startswith(says)
    assert doubts[1].startswith("Another seed may give another size")


def test_the_dimension() -> None:
    assert dimension_sentence(34.7, 2000) == (
        "The images have about 35 dimensions by TwoNN on 2,000 training images; a VAE may need more latents or fewer."
    )
    assert dimension_sentence(None, 40).endswith("cannot tell: too many are equal, or equally far apart.")
