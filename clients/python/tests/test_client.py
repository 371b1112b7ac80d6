"""The blocking client against a real server."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from conftest import Proxy, Server, serving

from ko_sentiment import Classification, Client, Done, Item, KoSentimentError, Result, Retry, Sentiment, Tls, Video

JEJU = Video(title="제주 여행 2일차", summary="제주도에서 이틀째 먹고 걷는다.")
ONCE = Retry(attempts=1)


def test_one_comment(client: Client) -> None:
    answer = client.classify("영상미가 정말 좋네요", video=JEJU)
    assert answer.sentiment is Sentiment.POSITIVE
    assert answer.positive + answer.neutral + answer.negative == pytest.approx(1, abs=1e-9)
    assert answer.probability == answer.positive
    assert client.classify("영상미가 정말 좋네요", video=JEJU).from_cache
    assert not client.classify("영상미가 정말 좋네요", video=JEJU, reproducible=True).from_cache


def test_model_info(client: Client) -> None:
    info = client.model_info()
    assert info.labels == {Sentiment.POSITIVE: "긍정", Sentiment.NEUTRAL: "중립", Sentiment.NEGATIVE: "부정"}
    assert info.model == client.classify("좋아요").model
    assert len(info.model.sha256) == 64


def test_reasons(client: Client) -> None:
    verdict, *texts, done = client.reason("영상미가 정말 좋네요", video=JEJU, max_tokens=16)
    assert isinstance(verdict, Classification) and verdict.sentiment is Sentiment.POSITIVE
    assert texts and all(isinstance(text, str) and text for text in texts)
    assert isinstance(done, Done) and done.finish_reason in ("stop", "length")
    assert done.usage.generated_tokens > 0


def test_free_answers_end_with_the_verdict(client: Client) -> None:
    *texts, verdict, done = client.reason("영상미가 정말 좋네요", max_tokens=16, free_answer=True)
    assert isinstance(verdict, Classification) and isinstance(done, Done)
    assert all(isinstance(text, str) for text in texts)


def test_a_rejected_comment_names_its_fields(client: Client) -> None:
    with pytest.raises(KoSentimentError) as caught:
        client.classify(" \n", video=Video(title="가" * 101))
    error = caught.value
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert set(error.fields) == {"comment", "video.title"}
    with pytest.raises(KoSentimentError, match="INVALID_ARGUMENT"):
        list(client.reason(""))


def test_a_deadline_holds(client: Client) -> None:
    with pytest.raises(KoSentimentError) as caught:
        client.classify("마감이 있는 댓글", timeout=0.001)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    with pytest.raises(KoSentimentError) as caught:
        list(client.reason("마감이 있는 댓글", max_tokens=2000, temperature=2, timeout=0.3))
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_many_keep_their_order_and_fail_alone(client: Client) -> None:
    comments: list[str | Item] = ["좋아요", " ", "별로예요", Item("가" * 10_001), Item("최고", video=JEJU), "\0"]
    results = list(client.classify_many(comments, video=JEJU))
    assert [result.index for result in results] == list(range(6))
    codes = [result.error and result.error.code for result in results]
    bad = grpc.StatusCode.INVALID_ARGUMENT
    assert codes == [None, bad, None, bad, None, bad]
    assert results[0].unwrap().sentiment is Sentiment.POSITIVE
    with pytest.raises(KoSentimentError, match="blank"):
        results[1].unwrap()
    assert list(client.classify_many([])) == []


def test_ten_thousand(client: Client) -> None:
    texts = [f"정말 좋네요 {n % 10}" if n % 20 else " " for n in range(10_000)]
    expect = {text: result.classification for text, result in zip(texts[:20], client.classify_many(texts[:20]))}
    taken = 0

    def source() -> object:
        nonlocal taken
        for text in texts:
            taken += 1
            yield text

    ahead = 0
    for count, result in enumerate(client.classify_many(source(), window=100)):  # type: ignore[arg-type]
        ahead = max(ahead, taken - count)
        assert (result.index, result.item.comment) == (count, texts[count])
        known = expect[texts[count]]
        assert (result.error is None) == (known is not None)
        if known is not None:
            assert result.unwrap().sentiment is known.sentiment
    assert count == 9_999
    assert ahead <= 101, "the source was read faster than the results"


def test_unordered_results_carry_their_index(client: Client) -> None:
    texts = [f"댓글 {n % 7}" for n in range(300)]
    results = list(client.classify_many(texts, ordered=False, window=64))
    assert sorted(result.index for result in results) == list(range(300))
    assert all(result.item.comment == texts[result.index] for result in results)


def test_the_sources_own_error_is_the_callers(client: Client) -> None:
    def source() -> object:
        yield "좋아요"
        raise OSError("the file is gone")

    with pytest.raises(OSError, match="the file is gone"):
        list(client.classify_many(source()))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="item 1 is a int"):
        list(client.classify_many(["좋아요", 3]))  # type: ignore[list-item]


def test_results_come_before_the_source_ends(client: Client) -> None:
    go_on = threading.Event()

    def source() -> object:
        yield "좋아요"
        assert go_on.wait(30)
        yield "별로예요"

    results = client.classify_many(source())  # type: ignore[arg-type]
    first: Result = next(results)
    assert first.index == 0
    go_on.set()
    assert [result.index for result in results] == [1]


def test_a_full_server_is_asked_again(small_server: Server) -> None:
    def classify(retry: Retry) -> list[KoSentimentError | None]:
        def one(n: int) -> KoSentimentError | None:
            try:
                client.classify(f"{n}번째 댓글입니다, {retry.attempts}", timeout=120)
            except KoSentimentError as error:
                return error
            return None

        with Client(small_server.address, retry=retry) as client, ThreadPoolExecutor(12) as pool:
            return list(pool.map(one, range(12)))

    rejected = [error for error in classify(ONCE) if error]
    assert rejected
    for error in rejected:
        assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert error.retry_delay is not None and error.retry_delay > 0
    assert classify(Retry(attempts=40)) == [None] * 12


def test_streams_wait_at_a_full_server(small_server: Server) -> None:
    with Client(small_server.address, retry=ONCE) as client:
        results = list(client.classify_many(f"{n}번째로 기다립니다" for n in range(20)))
    assert [result.error for result in results] == [None] * 20


def test_what_is_closed_is_cancelled(small_server: Server) -> None:
    with Client(small_server.address, retry=Retry(attempts=40, first_delay=0.1)) as client:
        long = [client.reason(f"{n}번째 긴 이유", max_tokens=1000, temperature=2, seed=n) for n in range(2)]
        for reasons in long:
            next(reasons)
        with Client(small_server.address, retry=ONCE) as other, pytest.raises(KoSentimentError, match="OVERLOADED"):
            other.classify("자리가 없는 댓글")
        for reasons in long:
            reasons.close()  # type: ignore[attr-defined]
        many = client.classify_many(f"닫히는 댓글 {n}" for n in range(50))
        next(many)
        many.close()  # type: ignore[attr-defined]
        assert client.classify("자리가 난 댓글").probability > 0


def test_a_killed_server_that_comes_back_loses_nothing() -> None:
    with serving() as server:
        retry = Retry(attempts=30, first_delay=0.5, max_delay=2)
        with Client(server.address, retry=retry) as client:
            results = []
            for result in client.classify_many((f"끊기는 댓글 {n}" for n in range(40)), timeout=120):
                results.append(result)
                if len(results) == 10:
                    server.kill()
                    threading.Thread(target=server.start).start()
            assert client.classify("다시 온 서버").probability > 0
    assert [result.index for result in results] == list(range(40))
    assert all(result.classification for result in results)


def test_cut_streams_go_on(proxy: Proxy) -> None:
    proxy.cut_after = [0, 3, 10]
    with Client(proxy.address, retry=Retry(first_delay=0.01)) as client:
        results = list(client.classify_many(f"잘린 스트림 {n}" for n in range(40)))
    assert [result.index for result in results] == list(range(40))
    assert len(proxy.headers) == 4


def test_streams_that_bring_nothing_are_given_up(proxy: Proxy) -> None:
    proxy.cut_after = [0] * 10
    with Client(proxy.address, retry=Retry(attempts=3, first_delay=0.01)) as client:
        with pytest.raises(KoSentimentError, match="as the test asked"):
            list(client.classify_many(["좋아요"]))
    assert len(proxy.headers) == 3


def test_only_what_may_help_is_retried(proxy: Proxy) -> None:
    def calls(failures: list[grpc.StatusCode], retry: Retry) -> int:
        proxy.headers.clear()
        proxy.failures = failures
        with Client(proxy.address, retry=retry) as client:
            try:
                client.classify("다시 보낼 댓글")
            except KoSentimentError as error:
                assert error.code is failures[0] if failures else True
        return len(proxy.headers)

    unavailable, internal = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL
    fast = Retry(attempts=4, first_delay=0.01)
    assert calls([unavailable] * 3, fast) == 4
    assert calls([unavailable] * 9, fast) == 4
    assert calls([internal] * 2, fast) == 1
    assert calls([grpc.StatusCode.RESOURCE_EXHAUSTED] * 2, fast) == 1, "no delay was named"
    assert calls([unavailable] * 2, ONCE) == 1
    with Client(proxy.address, retry=Retry(first_delay=60, max_delay=60)) as client:
        proxy.failures = [unavailable]
        with pytest.raises(KoSentimentError, match="UNAVAILABLE"):
            client.classify("기다릴 시간이 없는 댓글", timeout=5)


def test_headers(proxy: Proxy) -> None:
    tokens = iter(["first", "second", "third"])
    with Client(proxy.address, token=lambda: next(tokens)) as client:
        client.classify("좋아요", video=Video(id="dQw4w9WgXcQ", title="제목"))
        list(client.classify_many(["좋아요"], video=JEJU))
        client.model_info()
    keys = [headers.get("x-ko-sentiment-video") for headers in proxy.headers]
    assert keys == ["dQw4w9WgXcQ", JEJU.routing_key, None]
    bearer = [headers["authorization"] for headers in proxy.headers]
    assert bearer == ["Bearer first", "Bearer second", "Bearer third"]


def test_many_take_one_stream_per_video(proxy: Proxy) -> None:
    videos = [Video(id="a"), Video(id="b"), JEJU, None]
    items = [Item(f"{n % 3}번 댓글", videos[n % 4]) for n in range(80)]

    def keys(**options: object) -> list[str]:
        proxy.headers.clear()
        results = list(client.classify_many(items, **options))  # type: ignore[arg-type]
        assert [result.index for result in results] == list(range(80))
        assert all(result.classification for result in results)
        return sorted(headers.get("x-ko-sentiment-video", "") for headers in proxy.headers)

    with Client(proxy.address) as client:
        assert keys() == sorted(["", "a", "b", str(JEJU.routing_key)])
        assert keys(video=Video(id="c")) == sorted(["a", "b", "c", str(JEJU.routing_key)])
        assert keys(video=Video(id="c"), routed=False) == ["c"]
        items = [Item("같은 댓글", Video(id=f"v{n // 2}")) for n in range(80)]
        assert set(keys(window=2)) == {f"v{n}" for n in range(40)}, "a stream with nothing to do makes room"


def test_a_cut_stream_sends_its_own_items_again(proxy: Proxy) -> None:
    proxy.cut_after = [2]
    with Client(proxy.address, retry=Retry(first_delay=0.01)) as client:
        items = [Item("같은 댓글", Video(id=f"v{n % 2}")) for n in range(40)]
        results = list(client.classify_many(items))
    assert all(result.classification for result in results)
    keys = sorted(headers["x-ko-sentiment-video"] for headers in proxy.headers)
    assert keys in (["v0", "v0", "v1"], ["v0", "v1", "v1"])


def test_a_token_is_not_sent_in_the_clear() -> None:
    def check(endpoint: str, rejected: bool, tls: Tls | None = None, allow: bool = False) -> None:
        try:
            Client(endpoint, token="secret", tls=tls, allow_plaintext_token=allow).close()
        except ValueError as error:
            assert rejected and "secret" not in str(error), endpoint
        else:
            assert not rejected, endpoint

    for local in ("localhost:50051", "127.0.0.1:1", "[::1]:1", "unix:/run/x.sock", "dns:///localhost:1"):
        check(local, rejected=False)
    for remote in ("10.0.0.1:1", "127.0.0.1.example.com:1", "localhost.example.com:1", "dns:///a.example:1", "[fe80::1]:1"):
        check(remote, rejected=True)
        check(remote, rejected=False, tls=Tls())
        check(remote, rejected=False, allow=True)


def test_a_unix_socket(tmp_path: Path) -> None:
    with serving("--listen", f"unix:{tmp_path}/socket"), Client(f"unix:{tmp_path}/socket") as client:
        assert client.classify("좋아요", video=JEJU).probability > 0
        assert [result.error for result in client.classify_many(["좋아요", Item("최고", JEJU)])] == [None, None]


def test_nobody_listening_is_unavailable() -> None:
    with Client("127.0.0.1:1", retry=Retry(attempts=2, first_delay=0.01)) as client:
        with pytest.raises(KoSentimentError) as caught:
            client.classify("좋아요")
        assert caught.value.code is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(KoSentimentError):
            list(client.classify_many(["좋아요"]))


def test_arguments_that_make_no_sense() -> None:
    for make in (
        lambda: Client("http://localhost:50051"),
        lambda: Client(timeout=0),
        lambda: Client(tls=Tls(cert="client.pem")),
        lambda: Retry(attempts=0),
    ):
        with pytest.raises(ValueError):
            make()


