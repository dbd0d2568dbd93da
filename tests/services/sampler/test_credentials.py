"""One set of properties for librdkafka and Faust."""

import faust
import pytest

from services.sampler.credentials import credentials


def test_a_plain_connection_needs_none():
    assert credentials({"linger.ms": "5"}) is None


def test_sasl_over_tls_is_followed():
    options = {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "u"}
    made = credentials({**options, "sasl.password": "p"})
    assert isinstance(made, faust.SASLCredentials)
    assert (made.username, made.password, made.mechanism.value) == ("u", "p", "SCRAM-SHA-512")
    assert made.ssl_context is not None


def test_tls_alone_checks_the_brokers_certificate():
    made = credentials({"security.protocol": "ssl"})
    assert isinstance(made, faust.SSLCredentials)
    assert made.context.check_hostname


def test_a_security_property_is_never_silently_left_out():
    with pytest.raises(ValueError, match=r"can't follow ssl\.key\.location"):
        credentials({"security.protocol": "ssl", "ssl.key.location": "/key"})
