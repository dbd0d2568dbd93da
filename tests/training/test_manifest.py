import json
from pathlib import Path

import pytest

from tests.services.controller.world import World
from training import manifest


async def test_the_controllers_manifest_is_understood(tmp_path: Path) -> None:
    world = World(tmp_path).filled(train=5, eval=2, golden=4)
    run = await world.a_run()
    found = manifest.read(world.actions.dataset(run))
    assert found is not None
    assert (found.number, found.teacher.model, found.teacher.may_be_trained_on) == (1, "big", True)
    assert {name: part.rows for name, part in found.counts.items()} == {
        "train": 5,
        "eval": 2,
        "golden": 4,
        "preferences": 0,
    }
    assert found.counts["train"].reasons == {"kept at rate 0.5": 5}
    lineage = found.lineage["train"]
    assert isinstance(lineage, manifest.Lineage)
    assert lineage.teacher_models == {"big": 5}
    assert found.teacher_error["golden"].answers == 4
    assert found.split_proof
    assert set(found.sha256) == {"train.parquet", "eval.parquet", "golden.parquet", "preferences.parquet"}


def test_a_dataset_of_another_make_has_a_manifest_that_says_little_or_none(tmp_path: Path) -> None:
    assert manifest.read(tmp_path) is None
    (tmp_path / "manifest.json").write_text('{"train": 48, "made_by": "hand"}')
    assert manifest.read(tmp_path) == manifest.Manifest()


def test_a_manifest_that_contradicts_itself_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"counts": {"train": {"rows": "many"}}}))
    with pytest.raises(ValueError, match=r"(?s)manifest\.json: .*rows"):
        manifest.read(tmp_path)
