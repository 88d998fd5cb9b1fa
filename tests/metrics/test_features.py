"""Feature extractors: the classifier, which the test trains, and Inception with random weights."""

import hashlib
import io
import re
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.response import addinfourl

import pytest
import torch
from torch import Tensor
from torch_fidelity import feature_extractor_inceptionv3
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from benchmark.config.protocol import parse_protocol
from benchmark.datasets import load_dataset
from benchmark.datasets.base import Dataset, make_dataset
from benchmark.errors import InputError
from benchmark.metrics import classifier, inception
from benchmark.metrics.features import load_features
from benchmark.paths import cache_root, data_root
from benchmark.store.atomic_files import DIGEST_BYTES
from benchmark.suite.plan import plan
from benchmark.suite.worker import prepare

CPU = torch.device("cpu")


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "STEPS", 5)


def _toy(n_classes: int = 3, shape: tuple[int, ...] = (1, 8, 8), n: int = 60, seed: int = 0) -> Dataset:
    images = torch.randint(256, (n, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    labels = torch.arange(n) % n_classes
    return make_dataset("toy", images, labels, images[:10], labels[:10], n_classes=n_classes)


def _weights(dataset: Dataset) -> dict[str, Tensor]:
    return classifier.load(dataset, CPU).network.state_dict()


def _forget() -> None:
    for file in (cache_root() / "classifiers").iterdir():
        file.unlink()


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_unknown_features() -> None:
    with pytest.raises(InputError, match="unknown features 'vgg'; expected one of classifier, data, inception$"):
        load_features("vgg", _toy(), CPU)


# --- classifier


def test_classifier_learns_digits() -> None:
    dataset = load_dataset("digits")
    features = load_features("classifier", dataset, CPU)
    assert isinstance(features, classifier.ClassifierFeatures)
    assert re.fullmatch("classifier:[0-9a-f]{8}", features.name)
    images = dataset.test.images[dataset.test.rows].float() / 255
    accuracy = (features.network(images).argmax(1) == dataset.test.labels[dataset.test.rows]).float().mean()
    assert accuracy > 0.95
    found = features(images)
    assert found.shape == (360, 64) and found.dtype == torch.float32 and not found.requires_grad
    (file,) = (cache_root() / "classifiers").iterdir()
    file_time = file.stat().st_mtime_ns
    with torch.no_grad():
        assert torch.equal(load_features("classifier", dataset, CPU)(images), found)
    assert file.stat().st_mtime_ns == file_time
    assert not data_root().exists()


@pytest.mark.usefixtures("few_steps")
def test_all_partitions_share_a_classifier() -> None:
    with pytest.raises(ValueError, match="got a dataset in partition 1, expected it as it was loaded"):
        classifier.load(load_dataset("digits").for_seed(1), CPU)
    assert not (cache_root() / "classifiers").exists()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("n_classes", [4, 1])
def test_training_depends_on_the_content_alone(n_classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "STEPS", 30)
    dataset = _toy(n_classes, shape=(3, 24, 24), n=300)
    torch.manual_seed(1)
    torch.set_num_threads(1)
    first = _weights(dataset)
    _forget()
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    torch.set_num_threads(2)
    with torch.no_grad():
        second = _weights(dataset)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == 2
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = _weights(_toy(n_classes, shape=(3, 24, 24), n=300, seed=1))
    assert not torch.equal(first["head.weight"], other["head.weight"])


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "another network", "a number", "a flipped bit"])
def test_torn_cache_is_trained_again(damage: str) -> None:
    first = _weights(_toy())
    (file,) = (cache_root() / "classifiers").iterdir()
    content = file.read_bytes()
    if damage in ("another network", "a number"):
        torch.save({"weight": torch.zeros(1)} if damage == "another network" else 1, file)
    elif damage == "a flipped bit":  # in a weight: torch would load the file
        place = content.index(first["head.weight"].numpy().tobytes())
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    else:
        file.write_bytes({"truncated": content[: len(content) // 2], "empty": b"", "garbage": b"x" * 99}[damage])
    second = _weights(_toy())
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert list((cache_root() / "classifiers").iterdir()) == [file]
    assert file.read_bytes()[:DIGEST_BYTES] == content[:DIGEST_BYTES]  # the file is complete again


@pytest.mark.usefixtures("few_steps")
def test_the_name_is_that_of_the_weights() -> None:
    name = classifier.load(_toy(), CPU).name
    assert classifier.load(_toy(), CPU).name == name  # from the cache
    assert load_features(name, _toy(), CPU).name == name
    _forget()
    assert classifier.load(_toy(), CPU).name == name  # trained again to the same bits
    network = classifier.load(_toy(), CPU).network
    weight = network.head.bias.data
    weight[0] = torch.nextafter(weight[0], torch.tensor(9.0))
    assert f"classifier:{classifier._digest(network)}" != name


@pytest.mark.usefixtures("few_steps")
def test_another_machine_s_classifier_is_refused() -> None:
    name = classifier.load(_toy(), CPU).name
    with pytest.raises(InputError) as caught:
        load_features("classifier:00000000", _toy(), CPU)
    assert str(caught.value) == (
        f"features is classifier:00000000, but of dataset toy this machine has {name}; "
        "expected the same weights: run the suite again, with features classifier"
    )


def test_searches_with_different_classifiers_are_not_comparable() -> None:
    text = 'dataset = {name = "digits"}\nbackbone = {name = "mlp", hidden = [8]}\nevaluation.features = "%s"\n'
    names = ("classifier", "classifier:00000000", "classifier:00000001")
    specs = [plan(parse_protocol(text % name, "tiny"), "data", ("grid",), (0,))[0] for name in names]
    assert len({spec.protocol_hash for spec in specs}) == len({spec.search_id for spec in specs}) == 3
    with pytest.raises(InputError, match="unknown features 'classifier:0000'"):
        parse_protocol(text % "classifier:0000", "tiny")


def test_preparing_a_suite_names_its_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """If another machine trains another classifier, its searches get another hash and thus another group."""
    text = 'dataset = {name = "digits"}\nbackbone = {name = "mlp", hidden = [8]}\nevaluation.features = "classifier"\n'
    hashes = []
    for steps in (5, 6):  # they give different weights
        monkeypatch.setattr(classifier, "STEPS", steps)
        sent: list[tuple[str, Any]] = []
        prepare(SimpleNamespace(send=sent.append), parse_protocol(text, "tiny"), "cpu")
        kind, prepared = sent[-1]  # after the stages
        assert kind == "ready"
        assert {name.split("/")[0] for name in prepared.shared.cache_files} == {"baselines", "classifiers"}
        (spec,) = plan(prepared.protocol, prepared.fingerprint, ("grid",), (0,))
        assert spec.evaluation.features == classifier.load(load_dataset("digits"), CPU).name
        hashes.append((prepared.fingerprint, spec.protocol_hash))
        _forget()
    assert hashes[0][0] == hashes[1][0] and hashes[0][1] != hashes[1][1]


def test_without_labels_it_learns_clusters() -> None:
    """One class with ten different brightnesses: each brightness becomes a cluster."""
    brightness = torch.arange(200) % 10
    noise = torch.randint(10, (200, 1, 16, 16), generator=torch.Generator().manual_seed(0))
    images = (25 * brightness[:, None, None, None] + noise).to(torch.uint8)
    dataset = make_dataset("flat", images, torch.zeros(200).long(), images[:20], torch.zeros(20).long(), n_classes=1)
    features = classifier.load(dataset, CPU)
    assert features.network.head.out_features == 10
    predicted = features.network(images.float() / 255).argmax(1)
    pairs = set(zip(brightness.tolist(), predicted.tolist(), strict=True))
    assert len(pairs) == 10 and len({cluster for _, cluster in pairs}) == 10


@pytest.mark.usefixtures("few_steps")
def test_clusters_of_equal_images() -> None:
    images, labels = torch.full((30, 1, 8, 8), 7, dtype=torch.uint8), torch.zeros(30).long()
    features = classifier.load(make_dataset("same", images, labels, images, labels, n_classes=1), CPU)
    assert features(images.float() / 255).isfinite().all()


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("n_classes", [3, 1])
def test_classifier_averages_a_video_s_frames(n_classes: int) -> None:
    dataset = _toy(n_classes, shape=(3, 4, 16, 16), n=30)
    features = classifier.load(dataset, CPU)
    videos = dataset.test.images.float() / 255
    frames = [features(videos[:, :, t]) for t in range(4)]
    assert features(videos).shape == (10, 64)
    assert torch.allclose(features(videos), torch.stack(frames).mean(0), atol=1e-6)
    assert not torch.allclose(frames[0], frames[1], atol=1e-3)


@pytest.mark.usefixtures("few_steps")
def test_classifier_features_of_broken_images(monkeypatch: pytest.MonkeyPatch) -> None:
    features = classifier.load(_toy(), CPU)
    images = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = features(images)
    monkeypatch.setattr(classifier, "EVAL_BATCH", 3)
    images[5, 0, 2, 2] = torch.nan
    found = features(images)
    assert found[5].isnan().any()
    assert torch.allclose(found[:5], whole[:5], atol=1e-6)


# --- inception


@pytest.fixture(scope="module")
def random_weights() -> dict[str, Tensor]:
    """Weights for Inception, random, since the extractor itself loads only the official file."""
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", lambda *args, **kwargs: {})
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *args: None)
        weights = FeatureExtractorInceptionV3("random", ["2048"]).state_dict()
    # torch's default weights shrink activations by sqrt(6) per layer, which would leave nothing to compare.
    return {key: value * 6**0.5 if value.ndim == 4 else value for key, value in weights.items()}


@pytest.fixture
def weights_file(random_weights: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> Path:
    file = data_root() / "inception" / inception.WEIGHTS_FILE
    file.parent.mkdir(parents=True)
    torch.save(random_weights, file)
    monkeypatch.setattr(inception, "WEIGHTS_BYTES", file.stat().st_size)
    monkeypatch.setattr(inception, "WEIGHTS_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    return file


def test_inception_equals_torch_fidelity(weights_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception, "EVAL_BATCH", 2)
    features = load_features("inception", _toy(), CPU)
    assert features.name == "inception"
    reference = FeatureExtractorInceptionV3("reference", ["2048"], feature_extractor_weights_path=str(weights_file))
    pixels = torch.randint(256, (3, 3, 12, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pixels[2] = pixels[2, :1]  # grey
    (expected,) = reference(pixels)
    jitter = 0.8 * torch.rand(pixels.shape, generator=torch.Generator().manual_seed(1)) - 0.4
    found = features((pixels + jitter) / 255)  # the jitter is rounded away
    assert found.shape == (3, 2048) and found.dtype == torch.float32
    assert expected.std(0).max() > 1e-3
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)
    grey = features(pixels[2:, :1] / 255)
    assert torch.allclose(grey, expected[2:], rtol=1e-4, atol=1e-6)
    video = pixels[:2].transpose(0, 1)[None] / 255  # [1, 3, 2, 12, 12]
    assert torch.allclose(features(video), expected[:2].mean(0, keepdim=True), rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("weights_file")
def test_inception_of_broken_images() -> None:
    features = load_features("inception", _toy(), CPU)
    images = torch.zeros(2, 1, 8, 8)
    images[1, 0, 3, 3] = torch.nan
    found = features(images)
    assert found[0].isfinite().all() and found[1].isnan().all()
    with pytest.raises(ValueError, match="expected 1 or 3 channels"):
        features(torch.zeros(1, 2, 8, 8))


def test_inception_is_downloaded_once(weights_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = weights_file.read_bytes()
    weights_file.unlink()
    asked: list[str] = []

    def open_url(url: str) -> Any:
        asked.append(url)
        return addinfourl(io.BytesIO(content), Message(), url)

    monkeypatch.setattr("benchmark.datasets.archives.download.open_url", open_url)
    images = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    first, second = (load_features("inception", _toy(), CPU)(images) for _ in range(2))
    assert asked == [inception.WEIGHTS_URL] and weights_file.read_bytes() == content
    assert torch.equal(first, second) and first.shape == (2, 2048)


@pytest.mark.usefixtures("no_network")
def test_inception_missing() -> None:
    with pytest.raises(InputError) as caught:
        load_features("inception", _toy(), CPU)
    message = str(caught.value)
    assert str(data_root() / "inception" / "weights-inception-2015-12-05-6726825d.pth") in message
    assert "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/" in message
    assert message.endswith('or choose features = "classifier"')


@pytest.mark.parametrize("damage", ["size", "checksum"])
def test_inception_wrong_file_is_never_unpickled(
    weights_file: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpickle(*args: object, **kwargs: object) -> None:
        raise AssertionError("an unverified file was loaded")

    monkeypatch.setattr(torch, "load", unpickle)
    content = weights_file.read_bytes()
    flipped = content[:500] + bytes([content[500] ^ 1]) + content[501:]
    weights_file.write_bytes(content[:-1] if damage == "size" else flipped)
    with pytest.raises(
        InputError, match=rf"is truncated, damaged or another file: .* sha256 .* expected {inception.WEIGHTS_SHA256}"
    ):
        load_features("inception", _toy(), CPU)


def test_inception_constants() -> None:
    assert inception.WEIGHTS_BYTES == 95_628_359
    assert inception.WEIGHTS_SHA256.startswith("6726825d0af5f729") and len(inception.WEIGHTS_SHA256) == 64
    assert feature_extractor_inceptionv3.URL_INCEPTION_V3 == inception.WEIGHTS_URL
