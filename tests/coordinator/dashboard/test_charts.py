"""A chart's coordinates."""

from coordinator.dashboard.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, line_chart


def test_the_line_spans_the_picture_and_the_highest_value_is_on_top() -> None:
    chart = line_chart([(1, 2.0), (3, 1.0), (5, 3.0)])
    assert chart is not None
    assert [x for x, _ in chart.dots] == [LEFT, LEFT + (WIDTH - LEFT - RIGHT) / 2, WIDTH - RIGHT]
    heights = [y for _, y in chart.dots]
    assert heights[2] == TOP and heights[1] == HEIGHT - BOTTOM and TOP < heights[0] < HEIGHT
    assert [tick.text for tick in chart.across] == ["1", "2", "3", "4", "5"]
    assert chart.up[0].text == "1" and chart.up[-1].text == "3"


def test_a_flat_line_lies_in_the_middle() -> None:
    chart = line_chart([(1, 0.5), (2, 0.5)])
    assert chart is not None
    assert {y for _, y in chart.dots} == {TOP + (HEIGHT - TOP - BOTTOM) / 2}


def test_one_number_is_no_line() -> None:
    assert line_chart([]) is None
    assert line_chart([(1, 1.0)]) is None
