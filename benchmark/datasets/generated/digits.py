"""Handwritten digits that are bundled with scikit-learn."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from benchmark.datasets.base import Dataset, make_dataset

TEST_FRACTION = 0.2
TEST_SEED = 0


def load() -> Dataset:
    """Loads 1,797 grey images [N, 1, 8, 8] of the digits 0-9; 360 of them, stratified by digit, are the test split."""
    values, digits = load_digits(return_X_y=True)
    # Pixel values are counts from 0 to 16.
    images = torch.from_numpy(np.rint(values * 255 / 16).astype(np.uint8)).reshape(-1, 1, 8, 8)
    labels = torch.from_numpy(digits.astype(np.int64))
    train, test = train_test_split(
        np.arange(len(digits)), test_size=TEST_FRACTION, stratify=digits, random_state=TEST_SEED
    )
    return make_dataset("digits", images[train], labels[train], images[test], labels[test], n_classes=10)
