"""The asyncio client against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest
from conftest import Proxy, Server

from ko_sentiment import AsyncClient, Classification, Done, KoSentimentError, Retry, Sentiment


def run(server: Server | Proxy, body: Callable[[AsyncClient], Awaitable[None]], retry: Retry = Retry()) -> None:
    async def main() -> None:
        async with AsyncClient(server.address, retry=retry) as client:
            await asyncio.wait_for(body(client), 120)

    asyncio.run(main())


def test_every_call(server: Server) -> None:
    async def body(client: AsyncClient) -> None:
        answers = await asyncio.gather(*(client.classify(f"좋아요 {n}") for n in range(10)))
        assert all(answer.sentiment is Sentiment.POSITIVE for answer in answers)
        assert (await client.model_info()).model == answers[0].model
        verdict, *texts, done = [event async for event in client.reason("좋아요", max_tokens=8)]
        assert isinstance(verdict, Classification) and isinstance(done, Done) and texts
        with pytest.raises(KoSentimentError) as caught:
            await client.classify(" ")
        assert caught.value.reason == "INVALID_REQUEST"
        with pytest.raises(KoSentimentError) as caught:
            await client.classify("마감", timeout=0.001)
        assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED

    run(server, body)


def test_ten_thousand(server: Server) -> None:
    async def body(client: AsyncClient) -> None:
        taken = count = ahead = 0

        async def source() -> AsyncIterator[str]:
            nonlocal taken
            for n in range(10_000):
                taken += 1
                yield f"비동기 댓글 {n % 20}" if n % 50 else " "

        async for result in client.classify_many(source(), window=100):
            ahead = max(ahead, taken - count)
            assert result.index == count
            assert (result.error is not None) == (count % 50 == 0)
            count += 1
        assert count == 10_000 and ahead <= 101

    run(server, body)


def test_many_take_a_plain_iterable_too(server: Server) -> None:
    async def body(client: AsyncClient) -> None:
        results = [result async for result in client.classify_many(["좋아요", "별로예요"], ordered=False)]
        assert sorted(result.index for result in results) == [0, 1]

    run(server, body)


def test_the_sources_own_error_is_the_callers(server: Server) -> None:
    async def body(client: AsyncClient) -> None:
        async def source() -> AsyncIterator[str]:
            yield "좋아요"
            raise OSError("the queue is gone")

        with pytest.raises(OSError, match="the queue is gone"):
            async for _ in client.classify_many(source()):
                pass

    run(server, body)


def test_cut_streams_go_on(proxy: Proxy) -> None:
    proxy.cut_after = [0, 3, 10]

    async def body(client: AsyncClient) -> None:
        results = [result async for result in client.classify_many(f"잘린 {n}" for n in range(40))]
        assert [result.index for result in results] == list(range(40))
        assert len(proxy.headers) == 4

    run(proxy, body, Retry(first_delay=0.01))


def test_streams_that_bring_nothing_are_given_up(proxy: Proxy) -> None:
    proxy.cut_after = [0] * 10

    async def body(client: AsyncClient) -> None:
        with pytest.raises(KoSentimentError, match="as the test asked"):
            async for _ in client.classify_many(["좋아요"]):
                pass
        assert len(proxy.headers) == 3

    run(proxy, body, Retry(attempts=3, first_delay=0.01))


def test_a_cancelled_task_frees_the_server(small_server: Server) -> None:
    async def body(client: AsyncClient) -> None:
        async def explain(n: int) -> None:
            async for _ in client.reason(f"{n}번째 긴 이유", max_tokens=1000, temperature=2, seed=n):
                begun.release()

        begun = asyncio.Semaphore(0)
        tasks = [asyncio.create_task(explain(n)) for n in range(2)]
        for _ in range(20):
            await begun.acquire()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (await client.classify("자리가 난 댓글")).probability > 0

    run(small_server, body, Retry(attempts=40, first_delay=0.1))


def test_a_full_server_is_asked_again(small_server: Server) -> None:
    async def body(client: AsyncClient) -> None:
        answers = await asyncio.gather(*(client.classify(f"{n}번째 비동기 댓글", timeout=110) for n in range(12)))
        assert len(answers) == 12

    run(small_server, body, Retry(attempts=40))
