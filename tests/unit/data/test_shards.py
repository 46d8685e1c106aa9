"""Shards: what is stored of each image is asked of its source at once."""

from thaw.config.load import parse
from thaw.data import check, prepare
from thaw.data.shards import shard_table
from thaw.data.sources import boards

IMAGES = 6


def test_all_of_an_image_is_read_before_the_next_so_that_a_source_makes_it_once():
    tasks = {name: {"type": kind} for name, kind in (("defects", "detection"), ("copper", "segmentation"))}
    data = {"source": {"type": "boards", "images": IMAGES, "size": 64}}
    made = parse({"name": "drawn", "data": data, "tasks": tasks}, "test")
    source = prepare.open_source(made.data.source)
    references = list(source.references())
    boards._drawn.cache_clear()
    facts = list(check.examine(source, check.questions(made, references), made.data.limits))
    assert boards._drawn.cache_info().misses == IMAGES
    planned = prepare.plan(made, references, facts)
    boards._drawn.cache_clear()
    for rows in planned.rows.values():
        shard_table(source, rows, planned.dataset.labels, None, made.data.limits)
    assert boards._drawn.cache_info().misses == IMAGES
