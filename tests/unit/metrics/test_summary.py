"""Metrics as lines: figures of one class stand apart, and none is lost."""

from thaw.metrics import summary

METRICS = {
    "verdict": {"accuracy": 0.91234, "f1_macro": 0.5},
    "defects": {"map50": 0.4, "map": 0.2, "ap50_hole": 0.3, "ap50_mouse_bite": 0.1},
    "copper": {"miou": 0.8, "iou_board": 0.9, "iou_iou_": 0.7},
}


def test_a_task_has_one_line_and_its_classes_one_below():
    assert summary.lines(METRICS) == [
        "  verdict      accuracy 0.912  f1_macro 0.500",
        "  defects      map50 0.400  map 0.200",
        "               ap50: hole 0.300, mouse_bite 0.100",
        "  copper       miou 0.800",
        "               iou: board 0.900, iou_ 0.700",
    ]


def test_every_figure_is_either_of_the_task_or_of_a_class():
    for values in METRICS.values():
        classes = summary.by_class(values)
        assert len(summary.overall(values)) + sum(map(len, classes.values())) == len(values)


def test_nothing_measured_gives_no_lines():
    assert summary.lines({}) == []
