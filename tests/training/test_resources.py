import pytest

from training import resources
from training.config import Config, Search

ON_GPUS = Config(base_model="x", workers=2, gpus_per_worker=4)


@pytest.mark.parametrize("there", [{"CPU": 2, "GPU": 8}, {"CPU": 64.0, "GPU": 16.0, "memory": 1e9}])
def test_nothing_is_lacking_where_all_workers_have_their_place(there: dict[str, float]) -> None:
    assert resources.lacking(ON_GPUS, there) == ""


def test_a_run_without_gpus_needs_a_processor_for_each_worker() -> None:
    assert resources.lacking(Config(base_model="x", workers=2), {"CPU": 2}) == ""
    assert "Ray has 1 CPU and 0 GPU, and the run asks for 2 CPU and 0 GPU" in resources.lacking(
        Config(base_model="x", workers=2), {"CPU": 1}
    )


@pytest.mark.parametrize("there", [{"CPU": 64.0}, {"CPU": 64.0, "GPU": 7.0}, {"CPU": 1.0, "GPU": 8.0}])
def test_what_is_lacking_is_named_with_what_to_change(there: dict[str, float]) -> None:
    why = resources.lacking(ON_GPUS, there)
    assert f"Ray has {there['CPU']:g} CPU and {there.get('GPU', 0):g} GPU" in why
    assert "asks for 2 CPU and 8 GPU (workers: 2, gpus_per_worker: 4)" in why
    assert "await_resources: true" in why


def test_a_run_that_awaits_a_growing_cluster_lacks_nothing() -> None:
    assert resources.lacking(ON_GPUS.model_copy(update={"await_resources": True}), {}) == ""


def test_a_ray_of_our_own_has_room_for_all_workers_and_for_all_trials_at_once() -> None:
    search = Search(space={"seed": [1, 2]}, at_once=8)
    assert resources.local(Config(base_model="x")) == 2
    assert resources.local(Config(base_model="x", workers=4)) == 5
    assert resources.local(Config(base_model="x", search=search)) == 8
    assert resources.local(Config(base_model="x", workers=9, search=search)) == 10
