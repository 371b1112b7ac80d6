#!/usr/bin/env python3
"""Checks metrics, rules and dashboard with a real Prometheus that scrapes a real server.

promtool judges the exposition, the configuration and the rules, and runs the rules' tests. Prometheus then has to
find the server up, every metric of the documentation's table, no fault in any rule, and an answer to every query of
the dashboard. Where Prometheus cannot be installed, it says so and skips, unless CI_REQUIRE_PROMETHEUS is set.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import BINARY, MODEL, ROOT
from harness.prometheus import RULES, Prometheus, dashboard, fetch, filled, installed
from harness.server import Server

PATIENCE = 120  # seconds for anything to come about


def say(text: str) -> None:
    print(f"test-prometheus: {text}", flush=True)


def tools() -> Path:
    if (found := installed()) is None:
        if os.environ.get("CI_REQUIRE_PROMETHEUS"):
            sys.exit("test-prometheus: FAILED: Prometheus cannot be installed")
        say("SKIPPED: no Prometheus here")
        sys.exit(0)
    return found


def wait_for(what: str, check):
    """What `check` returns, as soon as that is something; the last error if it never is."""
    end, last = time.monotonic() + PATIENCE, None
    while time.monotonic() < end:
        try:
            if found := check():
                return found
        except OSError as error:
            last = error
        time.sleep(0.5)
    sys.exit(f"test-prometheus: FAILED: {what} ({last})")


def promtool(bin: Path, *args: str, stdin: str | None = None) -> None:
    done = subprocess.run([bin / "promtool", *args], input=stdin, text=True, cwd=RULES, capture_output=True)
    if done.returncode != 0 or done.stderr.strip():
        sys.exit(f"test-prometheus: FAILED: promtool {' '.join(args)}\n{done.stdout}{done.stderr}")
    say(f"promtool {' '.join(args)}: clean")


def ask(endpoint: str) -> None:
    """Calls of every kind: well, twice the same, refused, and with reasons."""
    def call(*args: str) -> int:
        done = subprocess.run([BINARY, *args, "--endpoint", endpoint], capture_output=True)
        return done.returncode

    comments = ["정말 재미있어요", "그저 그래요", "시간이 아깝네요", "정말 재미있어요"]
    codes = [call("classify", comment) for comment in comments]
    codes += [call("reason", "편집이 깔끔해서 좋았어요")]
    assert codes == [0] * 5, codes
    assert call("classify", " ") != 0


def documented() -> list[tuple[str, str]]:
    """Names and kinds of the documentation's table, which a test of the crate compares with the code."""
    text = (ROOT / "docs/operations.md").read_text()
    return re.findall(r"^\| `([a-z_]+)` \|[^|]*\| (counter|gauge|histogram) \|", text, re.M)


def check_stored(prometheus: Prometheus) -> None:
    wait_for("the server is up", lambda: prometheus.value('up{job="ko-sentiment"}') == 1)
    wanted = {name + ("_bucket" if kind == "histogram" else "") for name, kind in documented()}
    # Without certificates and tokens these have no samples.
    wanted -= {name for name in wanted if "principal" in name or "certificate" in name}
    assert len(wanted) >= 20
    missing = lambda: wanted - set(prometheus.get("label/__name__/values"))
    wait_for("all metrics are stored", lambda: not missing())
    say(f"{len(wanted)} metrics are stored")
    handled = 'sum(grpc_server_handled_total{grpc_method="Classify",grpc_code="%s"})'
    wait_for("four calls are counted", lambda: prometheus.value(handled % "OK") == 4)
    wait_for("the refusal is counted", lambda: prometheus.value(handled % "InvalidArgument") == 1)
    wait_for("the cache hit is counted", lambda: prometheus.value("ko_sentiment_answer_cache_hits_total") == 1)


def check_rules(prometheus: Prometheus) -> None:
    def rules():
        groups = prometheus.get("rules")["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        return found if found and all(rule["health"] != "unknown" for rule in found) else None

    found = wait_for("the rules are evaluated", rules)
    faults = [(rule["name"], rule.get("lastError")) for rule in found if rule["health"] != "ok"]
    assert not faults, faults
    firing = [rule["name"] for rule in found if rule.get("state") == "firing"]
    assert not firing, f"a healthy server fires {firing}"
    say(f"{len(found)} rules are evaluated; none fires")


def check_dashboard(prometheus: Prometheus) -> None:
    queries = [(panel["title"], target["expr"]) for panel in dashboard() for target in panel.get("targets", [])]
    answered = 0
    for title, query in queries:
        try:
            answered += bool(prometheus.get("query", query=filled(query, "1m"))["result"])
        except OSError as error:
            sys.exit(f"test-prometheus: FAILED: the panel {title!r} asks {query!r}: {error}")
    say(f"{len(queries)} queries of the dashboard are understood, {answered} have data")
    assert answered * 2 > len(queries), "most panels are empty"


def main() -> None:
    bin = tools()
    promtool(bin, "check", "config", "prometheus.yml")
    promtool(bin, "check", "rules", "rules.yml")
    promtool(bin, "test", "rules", "rules_test.yml")
    with tempfile.TemporaryDirectory() as folder, Server(BINARY, MODEL) as server:
        metrics = server.known["serving metrics"]
        promtool(bin, "check", "metrics", stdin=fetch(f"http://{metrics}/metrics"))
        prometheus = Prometheus(bin, Path(folder), metrics)
        try:
            wait_for("Prometheus is ready", lambda: fetch(f"{prometheus.base}/-/ready"))
            wait_for("a first scrape", lambda: prometheus.value('up{job="ko-sentiment"}') == 1)
            ask(server.target)
            promtool(bin, "check", "metrics", stdin=fetch(f"http://{metrics}/metrics"))
            check_stored(prometheus)
            check_rules(prometheus)
            check_dashboard(prometheus)
        finally:
            prometheus.stop()
    say("passed")


if __name__ == "__main__":
    main()
