import pytest

from services.gateway.settings import GatewaySettings
from services.settings import KafkaSettings, ServiceSettings, WrongSettings, on_loopback


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


@pytest.mark.parametrize("variable", ["GATEWAY_LISTEN", "HTTP_LISTEN", "METRICS_LISTEN"])
@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:99999", "127.0.0.1:", "8080", "::1", "a b:1", "a:-1", ":x"])
def test_where_it_can_not_listen_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, listen: str) -> None:
    monkeypatch.setenv(variable, listen)
    with pytest.raises(WrongSettings, match=rf"^{variable}: .*is not host:port with a port from 0 to 65535"):
        GatewaySettings()


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:65535", "[::1]:8080", ":8080", "a-b.c:1"])
def test_where_it_can_listen_is_taken(monkeypatch: pytest.MonkeyPatch, listen: str) -> None:
    for variable in ("GATEWAY_LISTEN", "HTTP_LISTEN", "METRICS_LISTEN"):
        monkeypatch.setenv(variable, listen)
    assert GatewaySettings().http_listen == listen


def test_it_need_not_listen_for_http_nor_for_prometheus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_LISTEN", "")
    monkeypatch.setenv("METRICS_LISTEN", "")
    assert (GatewaySettings().http_listen, GatewaySettings().metrics_listen) == ("", "")


def test_a_socket_file_is_on_this_machine() -> None:
    assert on_loopback("unix:/run/control")
