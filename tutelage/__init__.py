"""Calling Tutelage from Python: `Client`, and `AsyncClient` for asyncio. Both are gRPC stubs with manners."""

from tutelage.asynchronous import AsyncAnswerStream, AsyncClient
from tutelage.blocking import AnswerStream, Client
from tutelage.channel import TutelageError
from tutelage.messages import Answer

__all__ = ["Answer", "AnswerStream", "AsyncAnswerStream", "AsyncClient", "Client", "TutelageError"]
