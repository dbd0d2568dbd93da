"""Settings that several services share; each service's `__main__` reads the environment into its own."""

import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

HOST_PORT: Final = re.compile(r"(?:\[[^\[\]\s]+\]|[^:\[\]\s]*):(\d{1,5})")
MOST_PORT: Final = 65_535


def _host_port(listen: str) -> str:
    found = HOST_PORT.fullmatch(listen)
    if found is None or int(found[1]) > MOST_PORT:
        raise ValueError(f"is not host:port with a port from 0 to {MOST_PORT}, like 127.0.0.1:8080 or [::1]:8080")
    return listen


Listen = Annotated[str, AfterValidator(_host_port)]
"""host:port to listen on; port 0 takes a free one."""
ListenOrNot = Annotated[str, AfterValidator(lambda listen: listen and _host_port(listen))]
"""The same; empty for nowhere."""


class WrongSettings(SystemExit):
    """Ends the process with a line that names the variables. Their values may be secrets, so they are not in it."""


class Frozen(BaseSettings):
    """Settings read once, from environment variables named as the fields in upper case. Raises WrongSettings."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise WrongSettings(problems(error, _variable)) from None
        except SettingsError as error:
            raise WrongSettings(f"{error}: it is not JSON") from None


def problems(error: ValidationError, spelt: Callable[[str], str] = str) -> str:
    """Each key that is wrong, as `spelt` writes it, and why, in a line; without what it was, which may be a secret."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{spelt('.'.join(map(str, one['loc'])))}: {one['msg']}".removeprefix(": ") for one in found)


def on_loopback(listen: str) -> bool:
    """Whether host:port can be reached from this machine alone. A name other than localhost may be anywhere."""
    host = listen.rpartition(":")[0].strip("[]")
    if listen.startswith("unix:") or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _variable(key: str) -> str:
    """SPOOL_FSYNC, or REQUEST_LIMITS.tools within a JSON object."""
    name, dot, inner = key.partition(".")
    return f"{name.upper()}{dot}{inner}"


class KafkaSettings(Frozen):
    """How to reach Kafka."""

    kafka_bootstrap_servers: str = "127.0.0.1:9092"
    kafka_group_protocol: str = Field("classic", pattern="^(classic|consumer)$")
    kafka_options: dict[str, str] = {}
    """librdkafka properties as a JSON object, for instance for SASL; they win over ours."""


class GatewayAccess(Frozen):
    """How to reach the gateway."""

    gateway_address: str = "127.0.0.1:50051"
    """Where it answers: host:port."""
    gateway_api_key: SecretStr = SecretStr("")
    """What it lets in where it asks for keys; `tutelage key create` makes one."""
    gateway_tls: bool = False
    """Whether it speaks TLS; so it does where GATEWAY_TLS_CA is named."""
    gateway_tls_ca: Path | None = None
    """The roots by which it is known, in PEM; gRPC's own without it."""
    gateway_tls_client_cert: Path | None = None
    gateway_tls_client_key: Path | None = None
    """By which the caller is known to it, where it wants certificates of callers (mTLS)."""


class ControlTrust(Frozen):
    """How the controller and its caller know each other."""

    control_token: SecretStr = SecretStr("")
    """What it lets in where it has a CONTROL_TOKEN itself."""
    control_tls: bool = False
    control_tls_ca: Path | None = None
    control_tls_client_cert: Path | None = None
    control_tls_client_key: Path | None = None
    """As the gateway's."""


class ControlAccess(ControlTrust):
    """How to reach the controller."""

    control_address: str = "127.0.0.1:50052"


class ClickHouseSettings(Frozen):
    """How to reach ClickHouse's HTTP interface."""

    clickhouse_url: str = "http://127.0.0.1:8123"
    clickhouse_user: str = "default"
    clickhouse_password: SecretStr = SecretStr("")
    clickhouse_database: str = "tutelage"
    clickhouse_timeout_s: float = 30.0


class ServiceSettings(Frozen):
    """What every service has."""

    tasks_dir: Path = Path("deploy/tasks")
    metrics_listen: ListenOrNot = "127.0.0.1:0"
    """Where Prometheus reads the metrics; port 0 takes a free one, empty serves none."""
    log_level: str = Field("INFO", pattern="(?i)^(debug|info|warning|error|critical)$")
