"""Short epochs and probes, from which the figures of single latents and of first epochs are drawn."""

from pathlib import Path

import numpy as np
import pytest
from commands import TINY, benchmark

from benchmark.config.protocol import Training, parse_protocol
from benchmark.errors import InputError
from benchmark.store import ResultsStore


@pytest.mark.parametrize(("epoch_batches", "steps"), [(None, 10), (3, 3), (99, 10)])
def test_an_epoch_is_a_pass_or_fewer_batches(epoch_batches: int | None, steps: int) -> None:
    training = Training(batches=30, batch_size=10, epoch_batches=epoch_batches)
    assert training.steps_per_epoch(105) == steps
    assert training.with_epochs(105).epochs == 30 // steps


def test_epochs_must_have_a_batch() -> None:
    text = '[dataset]\nname = "digits"\n[backbone]\nname = "mlp"\n'
    for table in ("[training]\nepoch_batches = 0", "[evaluation]\nprobe_images = -1"):
        with pytest.raises(InputError, match="expected at least"):
            parse_protocol(f"{text}{table}", "mine")


def test_probes_and_short_epochs_reach_the_store(tmp_path: Path) -> None:
    protocol = tmp_path / "probed.toml"
    text = TINY.replace("[training]", "[training]\nepoch_batches = 2").replace(
        "[evaluation]", "[evaluation]\nprobe_images = 7"
    )
    assert "epoch_batches" in text and "probe_images" in text
    protocol.write_text(text.format(epochs=3))
    options = ("--protocol", str(protocol), "--searchers", "ald", "--seeds", "0")
    assert benchmark("run", *options, "--results", "r", cwd=tmp_path, cache=tmp_path).returncode == 0
    store = ResultsStore(tmp_path / "r")
    epochs, probes = store.epochs(), store.probes()
    batch = epochs["images_seen"].iloc[0] / 2
    assert list(epochs["images_seen"]) == [2 * batch, 4 * batch, 6 * batch]
    assert len(probes) == 3 * 7
    sizes = epochs.set_index("epoch")["latent_dim"]
    for _, row in probes.iterrows():
        assert len(row["probe_mean"]) == len(row["probe_variance"]) == sizes[row["epoch"]]
        assert (np.asarray(row["probe_variance"]) > 0).all()
    by_epoch = [tuple(rows["probe_label"]) for _, rows in probes.groupby("epoch")]
    assert len(set(by_epoch)) == 1  # the same images in every epoch
    assert "probe_mean" not in epochs
    gallery = store.gallery(epochs["search_id"].iloc[0])
    assert gallery is not None and gallery["labels"].shape == gallery["originals"].shape[:1]


def test_a_store_without_probes_has_none(tmp_path: Path) -> None:
    (tmp_path / "searches").mkdir()
    assert ResultsStore(tmp_path).probes().empty
