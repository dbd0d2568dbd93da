"""The controller's settings; `__main__` reads them from the environment, once."""

from pathlib import Path

from pydantic import Field

from services.settings import ClickHouseSettings, KafkaSettings, ServiceSettings


class Settings(ServiceSettings, KafkaSettings, ClickHouseSettings):
    """Where things lie, whom to reach, and how often to look."""

    control_listen: str = "127.0.0.1:50052"
    snapshots_dir: Path = Path("data/snapshots")
    """`<task>/<number>/`, each immutable."""
    runs_dir: Path = Path("data/runs")
    """`<task>/<run id>/`; also holds the lock that makes one instance the active one."""
    triton_repository: Path = Path("data/triton")
    triton_grpc_address: str = Field("127.0.0.1:8001", pattern=r"^[^,\s]+:\d+(,[^,\s]+:\d+)*$")
    """host:port; several with commas between them are replicas that read the one repository."""
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
