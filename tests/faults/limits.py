"""A server that runs out of KV cells, descriptors or memory."""

import resource
import socket
import threading

from harness.calls import Caller, batch, parts
from harness.http2 import Good

from .ground import fault, is_fine

TEXT = "처음부터 끝까지 정말 재미있게 봤어요. 다음 편도 기다릴게요"


@fault("out of KV cells", "calls that don't fit together wait, one that never fits is refused; no step fails")
def kv_cells(ground):
    cells, wanted = 1024, 8 if ground.short else 24
    with ground.serve("--ctx-size", cells, "--max-request-tokens", cells) as server, Caller(server.target) as client:
        endings = []

        def explain(i):
            endings.append(list(client.reason(f"{TEXT} {i}", 400, timeout=300))[-1])

        threads = [threading.Thread(target=explain, args=(i,), daemon=True) for i in range(wanted)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        # `done` is field 3 of an event.
        assert len(endings) == wanted and all(3 in parts(last) for last in endings), f"{len(endings)} of {wanted} ended"
        code, reason = client.refusal("Classify", batch(["가나다라마바사 " * 1200]))
        assert (code, reason) == ("INVALID_ARGUMENT", "PROMPT_TOO_LONG"), (code, reason)
        assert server.metric("ko_sentiment_steps_failed_total") == 0
        is_fine(server, others=1)
    return f"{wanted} streams of up to 400 tokens through {cells} cells"


@fault("out of file descriptors", "open connections are served on, new ones wait; all is well when some are free again")
def descriptors(ground):
    limit = 80
    bound = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with ground.serve("--handshake-seconds", 30, preexec_fn=bound) as server:
        good = Good(server.address)
        good.call()
        # Twice as many as there are descriptors: the rest wait in the kernel's queue.
        crowd = [socket.create_connection(server.address, 10) for _ in range(2 * limit)]
        for _ in range(5):
            good.call()
        used = server.descriptors()
        assert used >= limit - 2, f"only {used} descriptors are in use"
        for peer in crowd:
            peer.close()
        good.call()
        good.connection.close()
        is_fine(server)
    return f"{used} of {limit} used, then free"


@fault("memory limit", "too little to start: an error or a signal, at once; little room: batches are answered, or refused")
def memory(ground):
    tight = 128 << 20
    bound = lambda: resource.setrlimit(resource.RLIMIT_AS, (tight, tight))
    serve = ["serve", "--model", ground.model, "--listen", "127.0.0.1:0"]
    # It must end; with what code, a failed allocation decides.
    done = ground.command(*serve, timeout=60, preexec_fn=bound)
    assert done.returncode != 0 and done.stderr, f"exit code {done.returncode}"
    with ground.serve() as server, Caller(server.target) as client:
        client.classify(TEXT)
        room = server.status("VmData") * 1024 + (192 << 20)
        resource.prlimit(server.pid, resource.RLIMIT_DATA, (room, room))
        size = 100 if ground.short else 400
        answers = parts(client.call("ClassifyBatch", batch(f"{TEXT} {i}" for i in range(size)), timeout=300))
        assert len(answers[1]) == size
        is_fine(server, others=1)
    return f"start ended with {done.returncode}; {size} comments with 192 MiB of room"
