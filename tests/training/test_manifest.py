import json
import shutil
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


async def test_a_snapshot_is_as_its_manifest_says_until_a_file_changes_or_is_gone(tmp_path: Path) -> None:
    world = World(tmp_path).filled(train=5, eval=2, golden=4)
    dataset = world.actions.dataset(await world.a_run())
    manifest.check_unchanged(dataset)
    shutil.copytree(dataset, changed := tmp_path / "changed")
    changed.chmod(0o755)
    (changed / "train.parquet").unlink()
    (changed / "train.parquet").write_bytes((dataset / "train.parquet").read_bytes() + b" ")
    (changed / "eval.parquet").unlink()
    with pytest.raises(ValueError, match=r"eval\.parquet, train\.parquet changed since the snapshot"):
        manifest.check_unchanged(changed)


def test_what_a_manifest_says_nothing_of_is_not_checked(tmp_path: Path) -> None:
    manifest.check_unchanged(tmp_path)
    (tmp_path / "manifest.json").write_text('{"train": 48, "made_by": "hand"}')
    manifest.check_unchanged(tmp_path)


def test_a_manifest_that_contradicts_itself_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"counts": {"train": {"rows": "many"}}}))
    with pytest.raises(ValueError, match=r"(?s)manifest\.json: .*rows"):
        manifest.read(tmp_path)
