from superglue_ros.stamps import LATE_IN_A_ROW, Order, StampOrder

SECOND = 1_000_000_000


def orders(*seconds: float) -> list[Order]:
    order = StampOrder()
    return [order.follow(int(s * SECOND)) for s in seconds]


def test_a_late_stamp_changes_nothing() -> None:
    late = [Order.NEXT, Order.NEXT, Order.LATE, Order.LATE, Order.NEXT, Order.NEXT]
    assert orders(1, 2, 1.9, 1.999, 2, 2.1) == late


def test_a_second_back_is_a_jump_and_the_new_time_counts() -> None:
    assert orders(5, 4, 4.1, 3.05, 3.2)[1:] == [
        *(Order.JUMPED_BACK, Order.NEXT, Order.JUMPED_BACK, Order.NEXT)
    ]


def test_a_clock_set_back_by_a_little_is_found_out() -> None:
    found = orders(5, *(4.5 + 0.001 * i for i in range(LATE_IN_A_ROW + 3)))[1:]
    assert found[: LATE_IN_A_ROW - 1] == [Order.LATE] * (LATE_IN_A_ROW - 1)
    assert found[LATE_IN_A_ROW - 1] is Order.JUMPED_BACK
    assert found[LATE_IN_A_ROW:] == [Order.NEXT] * 3


def test_how_far_behind() -> None:
    order = StampOrder()
    assert order.behind_s(SECOND) == 0
    order.follow(2 * SECOND)
    assert order.behind_s(SECOND) == 1
