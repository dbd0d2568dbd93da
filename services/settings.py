"""Settings that several services share; each service's `__main__` reads the environment into its own."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Frozen(BaseSettings):
    """Settings read once, from environment variables named as the fields in upper case."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")


class KafkaSettings(Frozen):
    """How to reach Kafka."""

    kafka_bootstrap_servers: str = "127.0.0.1:9092"
    kafka_group_protocol: str = Field("classic", pattern="^(classic|consumer)$")
    kafka_options: dict[str, str] = {}
    """librdkafka properties as a JSON object, for instance for SASL; they win over ours."""


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
    metrics_listen: str = "127.0.0.1:0"
    """Where Prometheus reads the metrics; port 0 takes a free one, empty serves none."""
    log_level: str = "INFO"
