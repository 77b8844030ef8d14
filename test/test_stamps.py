import pytest

from superglue_ros.errors import LateFrame
from superglue_ros.stamps import LATE_IN_A_ROW, StampOrder

SECOND = 1_000_000_000


def verdicts(order: StampOrder, *seconds: float) -> list[str]:
    """Of one stamp after the other: "" for one that follows, "late" or "jumped"."""
    found = []
    for s in seconds:
        try:
            found.append("jumped" if order.follow(round(s * SECOND)) else "")
        except LateFrame:
            found.append("late")
    return found


def test_a_late_stamp_changes_nothing() -> None:
    assert verdicts(StampOrder(), 1, 2, 1.9, 1.999, 2, 2.1) == ["", "", "late", "late", "", ""]


def test_a_second_back_is_a_jump_and_the_new_time_counts() -> None:
    found = verdicts(StampOrder(), 5, 4, 4.1, 3.05, 3.2)
    assert found == ["", "jumped", "", "jumped", ""]


def test_a_clock_set_back_by_a_little_is_found_out() -> None:
    found = verdicts(StampOrder(), 5, *(4.5 + 0.001 * i for i in range(LATE_IN_A_ROW + 3)))[1:]
    assert found == ["late"] * (LATE_IN_A_ROW - 1) + ["jumped"] + [""] * 3


def test_what_was_judged_before_is_never_late() -> None:
    assert verdicts(StampOrder(late_ns=0), 5, 5, 4.9, 5.1) == ["", "", "jumped", ""]


def test_how_far_behind_is_said() -> None:
    order = StampOrder()
    assert order.follow(2 * SECOND) == ""
    with pytest.raises(LateFrame, match=r"late, 0\.250 s behind"):
        order.follow(round(1.75 * SECOND))
    assert "jumped back by 1.500 s" in order.follow(SECOND // 2)
