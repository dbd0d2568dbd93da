"""What all processes have used of a key adds up, in whatever order and however often it is told."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from protos import events_pb2 as events
from services.gateway.spending import Spending, Used

DAY, LATER, NEXT_MONTH = "2026-11-29", "2026-11-30", "2026-12-01"


def told(usd: str, source: str = "other", day: str = DAY, requests: int = 1, tokens: int = 10) -> events.KeyUsage:
    return events.KeyUsage(key_id="ann", source=source, day=day, requests=requests, tokens=tokens, cost_usd=usd)


def test_a_day_and_its_month_are_what_this_and_the_others_used() -> None:
    spending = Spending("own")
    spending.add("ann", DAY, Used(1, 5, Decimal("0.25")))
    spending.hear(told("1"), 0)
    spending.hear(told("2", source="third", day=LATER), 0)
    assert spending.usd("ann", DAY) == Decimal("1.25")
    assert spending.usd("ann", LATER) == 2
    assert spending.usd("ann", "2026-11") == Decimal("3.25")
    assert spending.usd("bob", DAY) == 0


def test_only_what_is_more_than_before_is_new() -> None:
    spending = Spending("own")
    assert spending.hear(told("1", requests=3, tokens=30), 0) == Used(3, 30, Decimal(1))
    assert spending.hear(told("1.5", requests=4, tokens=40), 0) == Used(1, 10, Decimal("0.5"))
    assert spending.hear(told("1", requests=3, tokens=30), 0) == Used()
    assert spending.usd("ann", DAY) == Decimal("1.5")


def test_what_this_process_told_is_not_counted_twice() -> None:
    spending = Spending("own")
    spending.add("ann", DAY, Used(1, 5, Decimal(1)))
    [usage] = spending.unsaid()
    assert spending.hear(usage, 0) == Used()
    assert spending.usd("ann", DAY) == 1


def test_what_has_not_changed_is_not_said_again() -> None:
    spending = Spending("own")
    spending.add("ann", DAY, Used(1, 5, Decimal("0.25")))
    spending.add("ann", DAY, Used(1, 5, Decimal("0.25")))
    [usage] = spending.unsaid()
    assert (usage.source, usage.day, usage.requests, usage.tokens, usage.cost_usd) == ("own", DAY, 2, 10, "0.50")
    assert spending.unsaid() == []
    spending.say_again("ann", DAY)
    assert spending.unsaid() == [usage]


def test_earlier_months_are_forgotten_and_named_to_be_taken_from_the_topic() -> None:
    spending = Spending("own")
    spending.add("ann", DAY, Used(1, 5, Decimal(1)))
    spending.hear(told("1"), 3)
    spending.hear(told("1", day=NEXT_MONTH), 4)
    assert spending.drop_before("2026-12") == [(f"ann/other/{DAY}", 3)]
    assert (spending.usd("ann", DAY), spending.usd("ann", "2026-11"), spending.usd("ann", NEXT_MONTH)) == (0, 0, 1)
    assert spending.unsaid() == []
    assert spending.drop_before("2026-12") == []


@given(st.data())
def test_any_order_and_any_repetition_come_to_the_same(data: st.DataObject) -> None:
    growth = data.draw(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=20))
    last: dict[str, int] = {}
    messages = []
    for source, more in growth:
        last[source] = last.get(source, 0) + more
        messages.append(told(str(last[source]), source=source, requests=last[source], tokens=last[source]))
    heard = data.draw(st.permutations([*messages, *messages]))
    spending = Spending("own")
    for usage in heard:
        spending.hear(usage, 0)
    assert spending.usd("ann", DAY) == sum(last.values())
