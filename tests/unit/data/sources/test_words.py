"""Sources: the words that data sets use for their splits."""

import pytest

from thaw.data.sources.contract import given_split


@pytest.mark.parametrize(
    ("word", "split"),
    [
        *(("train", "train"), ("Training", "train"), ("TEST", "test"), ("testing", "test"), ("val", "val")),
        *(("valid", "val"), ("Validation", "val"), ("dev", "val")),
        *(("metadata", None), ("", None), ("trainer", None), ("holdout", None), (" train", None)),
    ],
)
def test_common_words_for_a_split_are_understood_and_others_left_alone(word, split):
    assert given_split(word) == split
