"""The controller's settings; `__main__` reads them from the environment, once."""

from pathlib import Path

from pydantic import Field, SecretStr, model_validator

from services.settings import ClickHouseSettings, KafkaSettings, ServiceSettings, on_loopback
from services.tls import ServerFiles, server_files


class Settings(ServiceSettings, KafkaSettings, ClickHouseSettings):
    """Where things lie, whom to reach, and how often to look."""

    control_listen: str = "127.0.0.1:50052"
    """host:port. Beyond loopback it wants CONTROL_TOKEN or CONTROL_TLS_CLIENT_CA: who reaches it may erase."""
    control_token: SecretStr = SecretStr("")
    """What callers must say as `authorization: Bearer ...`: a long random text."""
    control_tls_cert: Path | None = None
    control_tls_key: Path | None = None
    control_tls_client_ca: Path | None = None
    """As the gateway's GATEWAY_TLS_CERT, GATEWAY_TLS_KEY and GATEWAY_TLS_CLIENT_CA."""
    snapshots_dir: Path = Path("data/snapshots")
    """`<task>/<number>/`, each immutable."""
    runs_dir: Path = Path("data/runs")
    """`<task>/<run id>/`; also holds the lock that makes one instance the active one."""
    triton_repository: Path = Path("data/triton")
    triton_grpc_address: str = "127.0.0.1:8001"
    triton_config_template: Path = Path("deploy/triton/config.pbtxt")
    triton_load_timeout_s: float = Field(600.0, gt=0)
    """A student of billions of weights takes minutes from a network disk."""
    ray_address: str = ""
    """A Ray cluster's address; empty trains on this machine."""
    training_command: tuple[str, ...] = ("-m", "training.launch")
    """What this Python is started with to train; the job's path follows. A JSON list."""
    training_check: tuple[str, ...] = ("-m", "training.check")
    """What this Python is started with to look at a config before there is a run; an empty list asks nobody."""
    watch_every_s: float = Field(5.0, gt=0)
    """How often candidates are counted and Triton is asked whether it serves what is promoted."""
    calibrate_every_s: float = Field(300.0, gt=0)
    """How often thresholds of cascades with a target are looked at. Each look reads the judged calls of four weeks."""
    ramp_every_s: float = Field(10.0, gt=0)
    """How often ramps are looked at. Each look reads their pairs from ClickHouse; a bad student serves until then."""
    audit_every_s: float = Field(60.0, gt=0)
    """How often the ledger is audited for the metrics tutelage_audit_*. Longer than the sink ever takes."""
    runs_at_once: int = Field(1, ge=1)
    """Runs of different tasks that may go on together; one task never has two."""
    versions_kept: int = Field(5, ge=1)
    """Student versions in Triton's repository, besides the live and the previous one."""
    page_rows: int = Field(10_000, ge=1)
    """Rows read from ClickHouse and written to Parquet at a time: bounds the memory of a snapshot."""

    @property
    def tls(self) -> ServerFiles | None:
        """What it speaks TLS with; None where it does not. Raises ValueError where one file lacks the other."""
        return server_files("CONTROL_TLS", self.control_tls_cert, self.control_tls_key, self.control_tls_client_ca)

    @model_validator(mode="after")
    def _is_guarded_beyond_loopback(self) -> "Settings":
        guarded = (self.tls and self.control_tls_client_ca) or self.control_token.get_secret_value()
        if not guarded and not on_loopback(self.control_listen):
            raise ValueError(
                f"CONTROL_LISTEN={self.control_listen} is reached from elsewhere, and whoever reaches it may promote, "
                "erase and make keys: set CONTROL_TOKEN to a long random text, or CONTROL_TLS_CLIENT_CA"
            )
        return self
