"""What tests of calls look at."""

from collections.abc import Awaitable

import grpc
import pytest

from protos import events_pb2 as events
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import until


async def eventually_written(gateway: Gateway) -> events.Exchange:
    """The exchange of a call that did not wait for its end."""
    await until(lambda: gateway.spool.exchanges)
    return gateway.exchange


async def status_of(call: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    """How a call fails."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value.code(), str(failed.value.details())
