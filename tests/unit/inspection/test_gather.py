"""What is gathered of a dataset is of the same images in the same order, in the pixels that the images came with."""

import few_boards as boards
import numpy as np
import pytest

from thaw.data import dataset
from thaw.data.labels import Boxes
from thaw.inspection.gather import gather
from thaw.inspection.material import Material
from thaw.storage import Root, open_root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return open_root(str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def material(root: Root) -> Material:
    chosen = boards.experiment()
    return gather(root, chosen, boards.prepared(root, chosen))


def test_labels_are_those_of_the_images_that_the_facts_have_there(root: Root, material: Material) -> None:
    row = 0
    for split, shards in material.prepared.splits.items():
        for shard in shards:
            table = dataset.read_shard(root, f"{material.prepared.path}/{shard.file}")
            for place in range(shard.rows):
                image, _, annotations = dataset.encoded(table, place)
                assert (material.ids[row], material.splits[row]) == (image, split)
                assert material.classes["verdict"][row] == annotations["verdict"]
                expected, found = annotations["defects"], material.boxes["defects"][row]
                assert isinstance(expected, Boxes)
                assert found is not None
                np.testing.assert_array_equal(found.boxes, expected.boxes)
                row += 1
    assert row == len(material.ids) == 16
    assert material.sets == {}
    assert set(material.tasks) == {"verdict", "defects", "copper"}


def test_what_was_set_aside_is_there_whatever_its_detail_holds(material: Material) -> None:
    assert material.rejected == ({"id": "gone.png", "reason": "truncated", "detail": "ends \u2028early"},)


def test_boxes_of_images_stored_smaller_are_in_pixels_of_those_that_came(root: Root, material: Material) -> None:
    smaller = boards.experiment(reencode=32)
    found = gather(root, smaller, boards.prepared(root, smaller))
    assert found.facts["width"].to_pylist() == material.facts["width"].to_pylist()
    for one, other in zip(found.boxes["defects"], material.boxes["defects"], strict=True):
        assert one is not None
        assert other is not None
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-4)
