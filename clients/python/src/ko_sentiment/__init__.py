"""Client for ko-sentiment: sentiment of Korean YouTube comments, over gRPC.

    with Client("localhost:50051") as client:
        print(client.classify("영상미가 정말 좋네요").sentiment)
"""

from .aio import AsyncClient
from .client import Client
from .connection import Tls
from .errors import KoSentimentError
from .results import Classification, Done, Item, Model, ModelInfo, Result, Sentiment, Usage
from .retry import Retry
from .video import ROUTING_HEADER, Video

__all__ = [
    "ROUTING_HEADER",
    "AsyncClient",
    "Classification",
    "Client",
    "Done",
    "Item",
    "KoSentimentError",
    "Model",
    "ModelInfo",
    "Result",
    "Retry",
    "Sentiment",
    "Tls",
    "Usage",
    "Video",
]
