"""Requests that come by Kafka: each is sent to the gateway, and its answer appears on topic `exchanges`."""
