"""Tokens and certificates that expire, are revoked, are junk or change under load, and clocks that jump."""

import subprocess
import time
from pathlib import Path

from harness import ROOT
from harness.calls import Caller, Load, comment, grpc
from harness.certificates import Authority
from harness.server import wait_until
from harness.tokens import new_token, put

from .ground import Skip, fault

REFUSED = {"expired": ("UNAUTHENTICATED", "TOKEN_EXPIRED"), "revoked": ("UNAUTHENTICATED", "UNKNOWN_TOKEN")}


def folder(ground, name: str) -> Path:
    made = ground.folder / name
    made.mkdir()
    return made


@fault("expired and revoked tokens", "UNAUTHENTICATED with a reason, within 5 s of the file's change; never in the log")
def tokens(ground):
    path = folder(ground, "tokens") / "tokens.toml"
    names = ("good", "old", "gone")
    (good, good_entry), (old, old_entry), (gone, gone_entry) = (new_token(ground.binary, name) for name in names)
    put(path, f"{good_entry}\n{old_entry}expires = 2020-01-01\n\n{gone_entry}")
    with ground.serve("--tokens", path) as server:
        refusal = lambda token: Caller(server.target, token).refusal("Classify", comment("네"))
        Caller(server.target, gone).classify("네")
        assert refusal(old) == REFUSED["expired"], refusal(old)
        put(path, good_entry)
        begun = time.monotonic()

        def revoked():
            try:
                return refusal(gone) == REFUSED["revoked"]
            except AssertionError:
                return False

        wait_until("the token is revoked", revoked, 5)
        after = time.monotonic() - begun
        put(path, "[[token]]\nname = 1\n")
        wait_until("junk is counted", lambda: server.metric("ko_sentiment_reloads_total", outcome="failed") == 1, 5)
        Caller(server.target, good).classify("네")
        assert not any(server.logged(token) for token in (good, old, gone)), "a token is in the log"
    return f"revoked after {after:.1f} s"


@fault("junk certificate at reload", "the old one stays, the fault is logged and counted, a good one is taken later")
def junk_certificate(ground):
    authority = Authority(folder(ground, "junk"))
    serial, junk = authority.sign("server"), ("junk", "", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with ground.serve(*authority.flags()) as server:
        failed = lambda: server.metric("ko_sentiment_reloads_total", kind="certificates", outcome="failed")
        for count, text in enumerate(junk, 1):
            put(authority.path("server.pem"), text)
            wait_until("junk is counted", lambda: failed() == count, 5)
            assert authority.served(server.address) == serial
        assert server.logged("not reloaded")
        serial = authority.sign("server")
        wait_until("the good one is served", lambda: authority.served(server.address) == serial, 5)
        with Caller(server.target.replace("127.0.0.1", "localhost"), credentials=authority.credentials()) as client:
            client.classify("네")
    return f"{len(junk)} kinds of junk"


@fault("rotation under load", "certificates and tokens change while 16 callers call: 0 failed calls, new serial in 5 s")
def rotation(ground):
    authority = Authority(folder(ground, "rotation"))
    authority.sign("server")
    path, rounds = authority.path("tokens.toml"), 2 if ground.short else 5
    current = new_token(ground.binary, "team")
    put(path, current[1])
    with ground.serve(*authority.flags(), "--tokens", path) as server:
        target = server.target.replace("127.0.0.1", "localhost")
        used, reloads = {}, lambda: server.metric("ko_sentiment_reloads_total", kind="tokens", outcome="done")

        def make(number):
            used[number] = current[0]
            return Caller(target, current[0], authority.credentials())

        load, slowest = Load(make, callers=16, renew=3), 0.0
        for _ in range(rounds):
            new, before = new_token(ground.binary, "team"), reloads()
            put(path, f"{current[1]}\n{new[1]}")
            wait_until("both tokens are valid", lambda: reloads() > before, 5)
            old, current = current, new
            serial, begun = authority.sign("server"), time.monotonic()
            wait_until("the new serial is served", lambda: authority.served(server.address) == serial, 5)
            slowest = max(slowest, time.monotonic() - begun)
            # Each caller connects anew, with the new token, before the old one goes.
            wait_until("callers go on", lambda: set(used.values()) == {current[0]} or load.failures, 120)
        calls = load.end()
        assert not load.failures, f"{len(load.failures)} of {calls} calls failed: {load.failures[:3]}"
        put(path, current[1])
        revoked = lambda: Caller(target, old[0], authority.credentials())
        wait_until("the last old token is gone", lambda: not is_let_in(revoked()), 5)
    return f"0 of {calls} calls failed; new serial after {slowest:.1f} s"


def is_let_in(client: Caller) -> bool:
    try:
        client.classify("네")
        return True
    except grpc.RpcError:
        return False


def faketime() -> Path:
    """The library that shows a process another clock; fetched like the other tools, without root."""
    name, into = "libfaketime.so.1", ROOT / "target/faketime"
    for found in (*Path("/usr/lib").glob(f"*/faketime/{name}"), *into.rglob(name)):
        return found
    into.mkdir(parents=True, exist_ok=True)
    fetch = "apt-get -qq download libfaketime && dpkg-deb -x libfaketime_*.deb . && rm libfaketime_*.deb"
    subprocess.run(["sh", "-c", fetch], cwd=into, capture_output=True, timeout=120)
    for found in into.rglob(name):
        return found
    raise Skip("libfaketime is not installed and cannot be fetched")


@fault("clock steps", "two days on, two back: expiry follows the clock; deadlines, streams and pings don't notice")
def clock(ground):
    library, place = faketime(), folder(ground, "clock")
    path, clock = place / "tokens.toml", place / "clock"
    (short, short_entry), (long, long_entry) = new_token(ground.binary, "short"), new_token(ground.binary, "long")
    tomorrow = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400))
    put(path, f"{short_entry}expires = {tomorrow}\n\n{long_entry}")
    put(clock, "+0")
    fake = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    fake |= {"DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with ground.serve("--tokens", path, "--keepalive-seconds", 1, "--keepalive-timeout-seconds", 2, env=fake) as server:
        ours, theirs = Caller(server.target, long), Caller(server.target, short)
        events = ours.reason("길게 설명해 주세요", 64 if ground.short else 300)
        next(events)
        for step, let_in in (("+0", True), ("+2d", False), ("+0", True), ("-2d", True), ("+0", True)):
            put(clock, step)
            time.sleep(0.2)
            assert is_let_in(theirs) == let_in, f"at {step} the token {'is refused' if let_in else 'is let in'}"
            begun = time.monotonic()
            ours.classify("네", timeout=30)
            assert time.monotonic() - begun < 30
        assert sum(1 for _ in events) > 0, "the stream was cut"
        assert not server.logged("cancelled")
    return "expiry follows the clock, nothing else does"
