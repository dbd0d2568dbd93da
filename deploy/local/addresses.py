"""Where the parts of a stack listen, on loopback alone, and the settings under which clients find them."""

import random
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Final, Self

HOST: Final = "127.0.0.1"
# Below the ports that Linux gives to outgoing connections (32768 and up), so that none of those takes a port between
# its choice and its use, and above those of Ray's workers (up to 19999).
_CHOSEN_FROM: Final = range(20_000, 32_000)


@dataclass(frozen=True)
class Addresses:
    """host:port of every part, but for `clickhouse_url`, which is a URL."""

    kafka: str
    clickhouse_url: str
    triton_grpc: str
    triton_http: str
    triton_metrics: str
    ray_address: str
    ray_node: str
    gateway: str
    gateway_http: str
    gateway_metrics: str
    intake_metrics: str
    sink_metrics: str
    sampler_metrics: str
    control: str
    controller_metrics: str

    @classmethod
    def choose(cls, given: Mapping[str, int]) -> Self:
        """`given` ports by field name, free ones for the rest. ValueError names a field that there is not."""
        names = [field.name for field in fields(cls)]
        if unknown := sorted(set(given) - set(names)):
            raise ValueError(f"no port is called {', '.join(unknown)}; there are {', '.join(names)}")
        free = free_ports(len(names), set(given.values()))
        ports = dict(zip(names, free, strict=True)) | dict(given)
        return cls(**{name: _address(name, port) for name, port in ports.items()})

    def port(self, name: str) -> int:
        """The port of a field."""
        return int(asdict(self)[name].rpartition(":")[2])

    def environment(self) -> dict[str, str]:
        """The settings of whoever speaks to the stack: a service, a command, a test."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "KAFKA_GROUP_PROTOCOL": "classic",
            "CLICKHOUSE_URL": self.clickhouse_url,
            "TRITON_GRPC_ADDRESS": self.triton_grpc,
            "RAY_ADDRESS": self.ray_address,
            "GATEWAY_ADDRESS": self.gateway,
            "CONTROL_ADDRESS": self.control,
        }


def free_ports(count: int, taken: set[int] | None = None) -> list[int]:
    """Different ports of loopback that nobody listens on now."""
    candidates = iter(random.sample(_CHOSEN_FROM, len(_CHOSEN_FROM)))
    return [next(port for port in candidates if port not in (taken or set()) and _is_free(port)) for _ in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return not _refused(listener, port)


def _refused(listener: socket.socket, port: int) -> bool:
    try:
        listener.bind((HOST, port))
    except OSError:
        return True
    return False


def _address(name: str, port: int) -> str:
    return f"http://{HOST}:{port}" if name.endswith("_url") else f"{HOST}:{port}"
