"""The page shows every finding with its images, asks for nothing from anywhere, and shows text as text."""

import made_up as made
import pytest

from reading import Reader
from thaw.inspection.finding import SHOWN, Case, Finding
from thaw.inspection.inspection import Inspection
from thaw.inspection.pictures import View
from thaw.inspection.report import charts, publish
from thaw.inspection.report.page import BUDGET, page
from thaw.page.pictures import Picture
from thaw.storage import open_root

JPEG = Picture(b"\xff\xd8 a picture", 160, 120)
FINDINGS = [
    made.finding("leaks", "gate", cases=[Case(images=("a.png", "b.png"), note="train and test", score=0.987)]),
    made.finding("absent", "gate", task="kind"),
    made.finding("blurred", cases=made.cases(SHOWN), count=100, figures={"median_blur": 0.51}),
    made.finding("counts", "note", figures={"train": {"a": 6, "b": 2}, "val": {"a": 1, "b": 1}}),
]
PICTURES = {View(image): JPEG for image in ("a.png", "b.png", *(f"{place}-0.png" for place in range(SHOWN)))}


def told(findings: list[Finding], pictures: dict[View, Picture] | None = None, **more: object) -> str:
    inspection = Inspection.of(made.PREPARED, findings, **more)
    return page(inspection, pictures or {}, {"spots": made.LABELS["spots"]})


@pytest.fixture(scope="module")
def read() -> Reader:
    return Reader(told(FINDINGS, PICTURES))


def test_every_tag_closes(read: Reader) -> None:
    assert read.open == []


def test_what_was_found_is_told_with_what_to_do_the_gravest_first(read: Reader) -> None:
    places = [read.text.rindex(f"3 of 10 images are {name}.") for name in ("leaks", "absent", "blurred", "counts")]
    assert places == sorted(places)
    assert read.text.count("Mend them.") == 4
    assert "2 gates fail on 10 images" in read.text
    assert "absent · task kind" in read.text
    assert "median blur 0.51" in read.text
    assert "train and test" in read.text
    assert "24 of 100 are shown" in read.text


def test_images_are_in_the_page_itself_and_nothing_is_asked_for_from_elsewhere(read: Reader) -> None:
    sources = [asked for asked in read.asked if not asked.startswith("#")]
    assert len(sources) == 2 + SHOWN
    assert all(one.startswith("data:image/jpeg;base64,") for one in sources)
    text = told(FINDINGS, PICTURES).replace('xmlns="http://www.w3.org/2000/svg"', "")
    for word in ("http:", "https:", "@import", "url(/", "<link"):
        assert word not in text
    assert "default-src 'none'" in text


def test_an_image_that_was_set_aside_is_named_without_a_picture() -> None:
    found = Reader(told([made.finding(cases=[Case(images=("gone.png",), note="truncated")])]))
    assert "no picture" in found.text
    assert "gone.png" in found.text


def test_all_that_lead_somewhere_lead_to_a_finding(read: Reader) -> None:
    anchors = [asked for asked in read.asked if asked.startswith("#finding")]
    assert anchors == ["#finding-0", "#finding-1", "#finding-2"]


def test_a_gate_that_is_let_through_is_told_as_such() -> None:
    found = Reader(told(FINDINGS, allowed=["leaks"]))
    assert "gate, let through" in found.text
    assert found.text.count("gate fails") == 3  # in the sentence, among the contents and at the gate


def test_pictures_beyond_the_budget_are_left_out_and_the_rest_is_told() -> None:
    large = Picture(bytes(BUDGET // 8), 160, 120)
    text = told([made.finding(cases=made.cases(SHOWN))], {View(f"{place}-0.png"): large for place in range(SHOWN)})
    assert len(text) < BUDGET + 200_000
    assert text.count("<img") == 5  # each takes a third more as text
    assert f"{SHOWN - 5} pictures are left out" in text
    assert text.count("no picture") == SHOWN - 5


def test_what_images_carry_is_told_by_task_and_by_class(read: Reader) -> None:
    assert ["spots", "4 of 8 (50%)", "0 of 2 (0%)", "no images"] in read.rows
    assert ["blue", "0", "0", "0"] in read.rows
    assert "2 truncated, 1 box outside" in read.text


def test_checks_without_vectors_are_told_to_be_passed_over() -> None:
    text = Reader(told([], passed_over=["drift", "labels"], without_vectors="no <weights>")).text
    assert "(no <weights>); passed over for want of them: drift, labels." in text


def test_text_of_users_is_never_markup() -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>\\1'
    schema = made.LABELS["kind"].model_copy(update={"names": (evil, "b")})
    classes = {split: {evil: {evil: 1, "b": 2}} for split in ("train", "val", "test")}
    report = made.PREPARED.report.model_copy(
        update={
            "classes": classes,
            "labelled": {split: {evil: 1} for split in classes},
            "rejected": {evil: 1},
        }
    )
    prepared = made.PREPARED.model_copy(update={"labels": {evil: schema}, "report": report})
    one = made.finding(
        evil,
        "gate",
        task=evil,
        told=evil,
        advice=evil,
        cases=[Case(images=(evil, "b"), note=evil)],
        figures={evil: {evil: 1, "b": 2}, f"{evil}2": evil, "listed": [evil]},
    )
    inspection = Inspection.of(prepared, [one], [evil], [evil], evil)
    read = Reader(
        page(
            inspection, {View(evil, evil): JPEG}, {evil: made.LABELS["spots"].model_copy(update={"names": (evil, "b")})}
        )
    )
    assert read.tags.count("script") == 1
    assert read.tags.count("img") == 1
    assert read.open == []
    assert evil in read.text


def test_bars_are_drawn_of_numbers_by_name_alone() -> None:
    assert charts.bars(made.finding(figures={"median": 3, "names": ["a"], "none": {}}), "x") is None
    chart = charts.bars(made.finding(figures={"start": 50, "more": {"rye": 4, "oat": 1}}), "x")
    assert chart is not None
    assert "rye" in chart.svg
    figures = {"start": 50, "more": {"rye": 4, "oat": 1}, "margin": {"rye": 0.1}}
    assert charts.listed(made.finding(figures=figures)) == {"start": "50", "margin": "rye 0.1"}


def test_quantiles_and_numbers_with_two_names_are_tables() -> None:
    figures = {"side": {"0": 3, "0.5": 7.5, "0.95": 20}, "by_class": {"red": {"a": 1}, "blue": {"b": 2}}}
    one = made.finding(figures=figures)
    assert charts.bars(one, "x") is None
    rows = Reader("".join(charts.tables(one))).rows
    assert rows[:2] == [["", "least", "median", "95%"], ["side", "3", "7.5", "20"]]
    assert rows[2:] == [["by class", "a", "b"], ["red", "1", "-"], ["blue", "-", "2"]]
    assert charts.listed(one) == {}


def test_classes_called_by_numbers_are_no_quantiles() -> None:
    assert charts.bars(made.finding(figures={"train": {"0": 3, "1": 7}}), "x")


def test_the_colours_of_classes_are_told_where_they_are_drawn() -> None:
    one = made.finding(task="spots", cases=[Case(images=("a.png",))])
    text = Reader(told([one], {View("a.png", "spots"): JPEG})).text
    assert "redblue" in text
    assert "redblue" not in Reader(told([one])).text


def test_of_many_names_the_outermost_are_drawn() -> None:
    chart = charts.bars(made.finding(figures={"train": {f"class{place}": place for place in range(100)}}), "x")
    assert chart is not None
    assert "class99<" in chart.svg
    assert "class0<" in chart.svg
    assert "class50<" not in chart.svg
    assert "the 8 highest and the 8 lowest of 100" in chart.caption


def test_the_page_and_the_findings_lie_beside_the_shards(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = open_root(str(tmp_path_factory.mktemp("store")))
    inspection = Inspection.of(made.PREPARED, FINDINGS)
    place = publish(root, inspection, PICTURES, {})
    assert place == f"{made.PREPARED.path}/report.html"
    assert b"leaks" in root.read_bytes(place)
    assert Inspection.model_validate(root.read_json(f"{made.PREPARED.path}/inspection.json")) == inspection
