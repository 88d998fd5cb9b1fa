"""What a dataset is: uint8 images in memory or memory-mapped, labels, and three fixed splits."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

VAL_FRACTION = 0.1
SPLIT_SEED = 0


@dataclass(frozen=True)
class Split:
    """Rows of an image tensor that several splits may share.

    images: uint8 [N, C, H, W] (video [N, C, T, H, W]); may be backed by a memory-mapped file.
    labels: int64 [N].
    rows: int64 [M], the rows of `images` and `labels` that belong to this split.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: Tensor) -> Tensor:
        """Images at these positions of the split: uint8 [len(positions), C, H, W]."""
        return self.images[self.rows[positions]]

    def head(self, count: int) -> "Split":
        """The first `count` images of the split, all where it has fewer."""
        return Split(self.images, self.labels, self.rows[:count])

    def to(self, device: torch.device) -> "Split":
        """The same split with its images, labels and rows on `device`."""
        return Split(self.images.to(device), self.labels.to(device), self.rows.to(device))


@dataclass(frozen=True)
class Dataset:
    """A dataset ready to train on. `fingerprint` is a hash of its content."""

    name: str
    train: Split
    val: Split
    test: Split
    n_classes: int
    fingerprint: str

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W), or (C, T, H, W) for video."""
        return tuple(self.train.images.shape[1:])


def make_dataset(
    name: str,
    train_images: Tensor,
    train_labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    n_classes: int,
    fingerprint: str | None = None,
) -> Dataset:
    """Holds out 10 % of the training rows for validation: the same rows for every searcher and seed.

    Images are uint8 [N, C, H, W], labels int64 [N]. The fingerprint is computed from the content unless given.
    Raises ValueError for other dtypes or lengths: a loader's mistake, not the user's.
    """
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        if images.dtype != torch.uint8 or labels.dtype != torch.int64 or len(images) != len(labels) or len(images) < 2:
            raise ValueError(
                f"{name}: got {images.dtype} images {tuple(images.shape)} and {labels.dtype} labels "
                f"{tuple(labels.shape)}, expected uint8 [N, C, H, W] and int64 [N] with N >= 2"
            )
    order = torch.randperm(len(train_images), generator=torch.Generator().manual_seed(SPLIT_SEED))
    n_val = max(1, round(VAL_FRACTION * len(train_images)))
    val_rows, train_rows = order[:n_val].sort().values, order[n_val:].sort().values
    return Dataset(
        name=name,
        train=Split(train_images, train_labels, train_rows),
        val=Split(train_images, train_labels, val_rows),
        test=Split(test_images, test_labels, torch.arange(len(test_images))),
        n_classes=n_classes,
        fingerprint=fingerprint or _content_hash(train_images, train_labels, test_images, test_labels),
    )


def _content_hash(*tensors: Tensor) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
