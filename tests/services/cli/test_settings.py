"""Where the commands find what they speak to."""

import json
from pathlib import Path

import pytest
import typer

from services.cli.settings import STATE, CliSettings, settings


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CliSettings.model_fields:
        monkeypatch.setenv(name.upper(), "")  # So that what `settings` sets is taken back.
        monkeypatch.delenv(name.upper())


def test_a_folder_without_a_stack_is_refused_rather_than_another_system_asked(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="no stack is up in"):
        settings(tmp_path)


def test_the_folder_of_a_stack_says_where_it_is_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"CLICKHOUSE_URL": "http://127.0.0.1:1", "GATEWAY_ADDRESS": "127.0.0.1:2"}
    (tmp_path / "stack.json").write_text(json.dumps({"env": env}))
    monkeypatch.setenv("GATEWAY_ADDRESS", "127.0.0.1:3")
    found = settings(tmp_path)
    assert (found.clickhouse_url, found.gateway_address) == ("http://127.0.0.1:1", "127.0.0.1:3")


def test_without_a_folder_named_the_defaults_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings(STATE).control_address == "127.0.0.1:50052"
