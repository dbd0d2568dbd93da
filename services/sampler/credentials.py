"""The librdkafka properties that all services share, said in Faust's way. Pure but for reading a CA file."""

import ssl
from collections.abc import Mapping
from typing import Any, Final

import faust

UNDERSTOOD: Final = frozenset(
    {"security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password", "ssl.ca.location"}
)
SECURITY: Final = ("security.", "sasl.", "ssl.")


def credentials(options: Mapping[str, str]) -> Any:
    """Faust's credentials for these properties, None for a plain connection.

    Raises ValueError for a security property that would be silently left out; others tune librdkafka alone.
    """
    security = {name for name in options if name.startswith(SECURITY)}
    if unknown := sorted(security - UNDERSTOOD):
        raise ValueError(f"KAFKA_OPTIONS: the sampler can't follow {', '.join(unknown)}")
    protocol = options.get("security.protocol", "plaintext").upper()
    context = ssl.create_default_context(cafile=options.get("ssl.ca.location")) if protocol.endswith("SSL") else None
    if protocol.startswith("SASL"):
        mechanism = options.get("sasl.mechanism") or options.get("sasl.mechanisms") or "PLAIN"
        name, secret = options.get("sasl.username"), options.get("sasl.password")
        return faust.SASLCredentials(username=name, password=secret, mechanism=mechanism, ssl_context=context)
    return faust.SSLCredentials(context) if context else None
