"""Calls every method of a running server, knowing its contract from reflection alone.

    python3 client.py HOST:PORT

Exits with 0 if all answers keep the contract.
"""

import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "ko_sentiment.v1.SentimentService"


class Client:
    """A stub made from the server's own descriptors."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self.service = descriptor_pool.DescriptorPool(self.database).FindServiceByName(SERVICE)

    def call(self, method: str, *requests: dict):
        description = self.service.methods_by_name[method]
        request_class = message_factory.GetMessageClass(description.input_type)
        response_class = message_factory.GetMessageClass(description.output_type)
        kinds = {
            (False, False): self.channel.unary_unary,
            (False, True): self.channel.unary_stream,
            (True, True): self.channel.stream_stream,
        }
        stub = kinds[description.client_streaming, description.server_streaming](
            f"/{SERVICE}/{method}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=response_class.FromString,
        )
        messages = [request_class(**request) for request in requests]
        return stub(iter(messages) if description.client_streaming else messages[0], timeout=60)


def main(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        client = Client(channel)
        services = set(client.database.get_services())
        assert {SERVICE, "grpc.health.v1.Health"} <= services, services

        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            status = health.Check(health_pb2.HealthCheckRequest(service=name)).status
            assert status == health_pb2.HealthCheckResponse.SERVING, status

        info = client.call("GetModelInfo", {})
        assert [label.text for label in info.labels] == ["긍정", "중립", "부정"], info

        video = {"title": "제주 여행", "summary": "제주도에서 사흘 동안 먹고 걷는다."}
        answer = client.call("Classify", {"comment": "영상미가 정말 좋네요", "video": video})
        assert abs(sum(score.probability for score in answer.scores) - 1) < 1e-9, answer
        assert answer.model.sha256 == info.model.sha256

        events = list(client.call("StreamReason", {"comment": "영상미가 정말 좋네요", "max_tokens": 16}))
        kinds = [event.WhichOneof("event") for event in events]
        assert kinds[0] == "verdict" and kinds[-1] == "done" and set(kinds[1:-1]) <= {"text"}, kinds

        batch = client.call("ClassifyBatch", {"comments": ["좋아요", " ", "별로예요"], "video": video})
        outcomes = [result.WhichOneof("outcome") for result in batch.results]
        assert outcomes == ["response", "error", "response"], outcomes

        items = [{"id": str(i), "request": {"comment": f"댓글 {i}"}} for i in range(20)]
        ids = {result.id for result in client.call("ClassifyStream", *items)}
        assert ids == {str(i) for i in range(20)}, ids

        try:
            client.call("Classify", {"comment": " "})
            raise AssertionError("a blank comment was classified")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
    print("every method answers")


if __name__ == "__main__":
    main(sys.argv[1])
