"""What becomes of a request by what the gateway says, and that the intake says who it is."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from protos import inference_pb2 as inference
from protos import inference_pb2_grpc
from services.errors import BadEvent, Overloaded
from services.intake.gateway import Gateway
from services.settings import GatewayAccess

pytestmark = pytest.mark.contract


class Says(inference_pb2_grpc.InferenceServicer):
    """Ends every call as it is told, and remembers what came with it."""

    def __init__(self) -> None:
        self.status = grpc.StatusCode.OK
        self.metadata: dict[str, str] = {}

    async def Complete(self, _request: inference.Request, context: Any) -> inference.Reply:
        self.metadata = dict(context.invocation_metadata())
        if self.status is not grpc.StatusCode.OK:
            await context.abort(self.status, "as told")
        return inference.Reply()


@pytest.fixture
async def says() -> AsyncIterator[tuple[Says, Gateway]]:
    said, server = Says(), grpc.aio.server()
    inference_pb2_grpc.add_InferenceServicer_to_server(said, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    gateway = Gateway(GatewayAccess(gateway_address=f"127.0.0.1:{port}", gateway_api_key="tt_x_y"), {}, 10.0)  # type: ignore[arg-type]
    yield said, gateway
    await gateway.close()
    await server.stop(None)


async def test_the_intake_says_who_it_is_and_how_the_request_came(says: tuple[Says, Gateway]) -> None:
    said, gateway = says
    await gateway.answer(inference.Request())
    assert said.metadata["authorization"] == "Bearer tt_x_y"
    assert said.metadata["x-tutelage-origin"] == "kafka"


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, Overloaded),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Overloaded),
        (grpc.StatusCode.PERMISSION_DENIED, BadEvent),
        (grpc.StatusCode.INVALID_ARGUMENT, BadEvent),
        (grpc.StatusCode.FAILED_PRECONDITION, BadEvent),
    ],
)
async def test_no_request_is_lost_by_the_intakes_own_key_and_one_that_is_not_for_it_is_put_aside(
    says: tuple[Says, Gateway], status: grpc.StatusCode, fate: type[Exception]
) -> None:
    said, gateway = says
    said.status = status
    with pytest.raises(fate, match=f"{status.name}: as told"):
        await gateway.answer(inference.Request())
