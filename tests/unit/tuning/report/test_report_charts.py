"""Charts are SVG for inside a page: whole, with text as text, a spoken title, and no more than was seen."""

import re
import xml.etree.ElementTree as ET

import made_up_sweep as made
import pytest

from thaw.page.paper import INK, Chart
from thaw.tuning.report import Range
from thaw.tuning.report.charts import bars, curves, heat, parallel, progress
from thaw.tuning.trial import Trial

SVG = "{http://www.w3.org/2000/svg}"
TRIALS = made.sweep()
SHARES = {made.HEAD: 0.7, made.DEPTH: 0.2, made.CLIP: 0.1}


def _all() -> list[Chart]:
    found = [
        progress.draw(TRIALS, "a <metric> & more"),
        curves.draw(TRIALS, "a <metric> & more"),
        parallel.draw(TRIALS, made.RANGES, "a <metric> & more"),
        heat.draw(TRIALS, made.RANGES, made.BACKBONE, made.DEPTH),
        bars.draw(SHARES),
    ]
    return [chart for chart in found if chart]


def _texts(chart: Chart | None) -> list[str]:
    assert chart is not None
    return ["".join(element.itertext()) for element in ET.fromstring(chart.svg).iter(f"{SVG}text")]


def test_every_chart_is_drawn_with_a_title_and_text_in_the_pages_colour() -> None:
    charts = _all()
    assert len(charts) == 5
    for chart in charts:
        picture = ET.fromstring(chart.svg)
        assert picture.get("role") == "img"
        assert picture[0].tag == f"{SVG}title"
        assert picture[0].text == picture.get("aria-label")
        assert "currentColor" in chart.svg
        assert INK not in chart.svg
        assert _texts(chart)


def test_names_in_one_chart_are_those_of_no_other() -> None:
    names = [set(re.findall(r' id="([^"]+)"', chart.svg)) for chart in _all()]
    assert sum(map(len, names)) == len(set.union(*names))
    for chart, own in zip(_all(), names, strict=True):
        asked = {one for pair in re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)", chart.svg) for one in pair if one}
        assert asked <= own


def test_the_same_trials_give_the_same_drawing() -> None:
    assert [chart.svg for chart in _all()] == [chart.svg for chart in _all()]


def test_dollars_and_foreign_letters_are_no_formula_and_no_warning() -> None:
    chart = progress.draw(TRIALS, "$x^2$ 銅")
    assert "$x^2$ 銅" in _texts(chart)


def test_a_chart_without_anything_to_show_is_none() -> None:
    nothing = [Trial(number=0, values={}, stage="failed", error="no")]
    assert progress.draw(nothing, "m") is None
    assert curves.draw(nothing, "m") is None
    assert parallel.draw(nothing, made.RANGES, "m") is None
    assert heat.draw(nothing, made.RANGES, made.BACKBONE, made.DEPTH) is None
    assert bars.draw({}) is None


def test_one_report_is_enough_for_every_chart() -> None:
    one = [trial.model_copy(update={"reports": trial.reports[:1]}) for trial in TRIALS[1:2]]
    assert progress.draw(one, "m")
    assert curves.draw(one, "m")
    assert parallel.draw(one, made.RANGES, "m")
    assert heat.draw(one, made.RANGES, made.HEAD, made.DEPTH)


def test_the_best_so_far_only_rises() -> None:
    scores = [report.score for _, report in progress.rises(TRIALS)]
    times = [report.at_s for _, report in progress.rises(TRIALS)]
    assert scores == sorted(scores)
    assert times == sorted(times)
    assert scores[-1] == max(report.score for trial in TRIALS for report in trial.reports)


def test_the_parallel_axes_name_every_dimension_and_what_is_not_set() -> None:
    texts = _texts(parallel.draw(TRIALS, made.RANGES, "m"))
    for word in ("phases[1].depth", "rates.head", "rates.backbone", "optimizer.type", "train.clip", "adamw", "null"):
        assert word in texts
    assert "not set" in texts


def test_the_heat_map_counts_every_trial_that_has_a_score_once() -> None:
    texts = _texts(heat.draw(TRIALS, made.RANGES, made.BACKBONE, made.DEPTH))
    counts = [int(text[1:-1]) for text in texts if re.fullmatch(r"\(\d+\)", text)]
    assert sum(counts) == sum(bool(trial.best and trial.values) for trial in TRIALS)
    assert "not set" in texts


@pytest.mark.parametrize("high", [5, 7, 40])
def test_every_whole_number_lies_in_the_cell_that_names_it(high: int) -> None:
    bins = heat.bins([], Range("int", 0, high), "a")
    for number in range(high + 1):
        label = bins.labels[bins.index(Trial(number=1, values={"a": number}, stage="running"), "a")]
        low, _, top = label.partition(" to ")
        assert int(low) <= number <= int(top or low)


def test_the_heat_map_is_of_depth_and_backbone_rate_else_of_the_most_important() -> None:
    assert heat.pair(made.RANGES, SHARES) == (made.BACKBONE, made.DEPTH)
    others = {place: range_ for place, range_ in made.RANGES.items() if place != made.BACKBONE}
    assert heat.pair(others, SHARES) == (made.HEAD, made.DEPTH)
    assert heat.pair(others, {made.OPTIMIZER: 0.6, made.HEAD: 0.4}) == (made.HEAD, made.OPTIMIZER)
    assert heat.pair({made.HEAD: made.RANGES[made.HEAD]}, None) is None
