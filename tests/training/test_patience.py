from training.patience import Patience


def after(*losses: float) -> Patience:
    patience = Patience()
    for step, loss in enumerate(losses, start=1):
        patience.look(loss, step)
    return patience


def test_a_loss_that_falls_is_always_worth_keeping() -> None:
    assert Patience().look(2.0, 1)
    assert after(2.0, 1.5).look(1.4, 3)
    assert not after(2.0, 1.5).look(1.5, 3)


def test_a_loss_that_is_no_number_is_never_the_lowest() -> None:
    assert not Patience().look(float("nan"), 1)
    assert not after(2.0).look(float("nan"), 2)


def test_patience_counts_from_the_last_fall() -> None:
    assert not after(2.0, 2.1, 1.9, 2.0).spent(2)
    assert after(2.0, 2.1, 1.9, 2.0, 1.95).spent(2)
    assert not after(1.0, 2.0, 3.0, 4.0).spent(None)


def test_it_tells_where_it_stopped_and_what_it_kept() -> None:
    told = after(2.0, 1.5, 1.6, 1.7).told(4, patience=2)
    assert told.startswith("stopped at step 4")
    assert "the weights of step 2 are kept, whose held-out loss was 1.5000" in told


def test_it_tells_of_a_run_that_was_not_stopped() -> None:
    assert (
        after(2.0, 1.5)
        .told(9, patience=2)
        .startswith("not stopped early until step 9, its last; the weights of step 2")
    )
    assert after(2.0).told(9, patience=None) == ""
