import pytest

from services.gateway.settings import GatewaySettings
from services.settings import KafkaSettings, ServiceSettings, WrongSettings


def test_a_wrong_setting_ends_the_process_with_the_variables_name_and_not_its_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SPOOL_FSYNC", "my-secret")
    monkeypatch.setenv("REQUEST_LIMITS", '{"tools": "my-secret"}')
    with pytest.raises(WrongSettings) as told:
        GatewaySettings()
    assert "SPOOL_FSYNC: Input should be 'off', 'interval' or 'always'" in str(told.value)
    assert "REQUEST_LIMITS.tools: Input should be a valid integer" in str(told.value)
    assert "my-secret" not in str(told.value)


def test_what_is_not_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_OPTIONS", "{my-secret")
    with pytest.raises(WrongSettings, match=r'"kafka_options".*not JSON') as told:
        KafkaSettings()
    assert "my-secret" not in str(told.value)


@pytest.mark.parametrize("level", ["INFO", "debug"])
def test_a_log_level_may_be_in_small_letters(monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    monkeypatch.setenv("LOG_LEVEL", level)
    assert ServiceSettings().log_level == level


def test_an_unknown_log_level_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "loud")
    with pytest.raises(WrongSettings, match=r"^LOG_LEVEL: "):
        ServiceSettings()
