#!/usr/bin/env python3
"""Builds and runs the programs of docs/clients.md against a server.

A language whose tools are missing is skipped and named. TypeScript's come from npm, Go's and Java's from Debian:
golang-go golang-google-grpc-dev golang-google-genproto-dev golang-github-golang-protobuf-1-5-dev
golang-google-protobuf-dev protoc-gen-go-1-5 protoc-gen-go-grpc protobuf-compiler
openjdk-17-jdk-headless libgrpc-java protobuf-compiler-grpc-java-plugin libprotobuf-java libgoogle-common-protos-java
libperfmark-java libnetty-java libguava-java libgoogle-gson-java libgeronimo-annotation-1.3-spec-java. Python's is the wheel, in the virtual environment that scripts/test-client-python.sh makes.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "target/examples"
PROTO = "ko_sentiment/v1/sentiment.proto"
BINARY = os.environ.get("KO_SENTIMENT_BINARY", ROOT / "target/release/ko-sentiment")
MODEL = os.environ.get("KO_SENTIMENT_MODEL", ROOT / "models/ko-gemma3-270m-sentiment.gguf")
NPM = [
    "@bufbuild/buf@1.75.0",
    "@bufbuild/protobuf@2.17.0",
    "@bufbuild/protoc-gen-es@2.17.0",
    "@connectrpc/connect@2.2.0",
    "@connectrpc/connect-node@2.2.0",
    "@types/node@20.19.0",
    "typescript@5.9.3",
]
# The template's remote plugins, as they are installed here.
LOCAL = {
    "buf.build/protocolbuffers/go": {"local": "protoc-gen-go"},
    "buf.build/grpc/go": {"local": "protoc-gen-go-grpc"},
    "buf.build/protocolbuffers/java": {"protoc_builtin": "java"},
    "buf.build/grpc/java": {"local": "grpc_java_plugin"},
    "buf.build/protocolbuffers/kotlin": {"protoc_builtin": "kotlin"},
    "buf.build/bufbuild/es": {"local": str(WORK / "node_modules/.bin/protoc-gen-es")},
    "buf.build/protocolbuffers/python": {"protoc_builtin": "python"},
    "buf.build/protocolbuffers/pyi": {"protoc_builtin": "pyi"},
}
JARS = (
    "grpc-api grpc-context grpc-core grpc-netty grpc-protobuf grpc-protobuf-lite grpc-stub guava gson protobuf "
    "proto-google-common-protos perfmark-api failureaccess geronimo-annotation-1.3-spec jsr305 netty-buffer netty-codec netty-codec-http netty-codec-http2 netty-codec-socks "
    "netty-common netty-handler netty-handler-proxy netty-resolver netty-transport netty-transport-native-unix-common"
).split()


def run(*command: object, cwd: Path = WORK, **env: str) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**os.environ, **env}, text=True, stdout=subprocess.PIPE, timeout=600
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed with {done.returncode}:\n{done.stdout}")
    return done.stdout


def extract() -> None:
    """Writes each program of the page to its file."""
    page = (ROOT / "docs/clients.md").read_text(encoding="utf-8")
    for name, text in re.findall(r"<!-- example: (.*?) -->\n```\w+\n(.*?)```", page, re.S):
        path = WORK / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        shutil.copy(ROOT / "clients/grpc-service-config.json", path.parent)


def generate() -> None:
    """Runs clients/buf.gen.yaml with the plugins that are here."""
    if not (WORK / "node_modules/.bin/tsc").exists():
        run("npm", "install", "--no-save", "--silent", "--prefix", WORK, *NPM)
    template = (ROOT / "clients/buf.gen.yaml").read_text(encoding="utf-8")
    head, _, plugins = template.partition("plugins:\n")
    kept = []
    for entry in re.split(r"^  - (?=remote)", plugins, flags=re.M)[1:]:
        remote, _, rest = entry.partition("\n")
        local = LOCAL.get(remote.removeprefix("remote: "))
        if local and (program := local.get("local", "protoc")) and shutil.which(program):
            key, value = next(iter(local.items()))
            kept.append(f"  - {key}: {json.dumps(value)}\n{rest}")
    path = WORK / "buf.gen.yaml"
    path.write_text(head + "plugins:\n" + "".join(kept), encoding="utf-8")
    run("node_modules/.bin/buf", "generate", ROOT / "proto", "--template", path)


def python() -> list[object] | None:
    interpreter = ROOT / "target/client-python/test/bin/python"
    return [interpreter, "main.py"] if interpreter.exists() else None


def ts() -> list[object] | None:
    out = WORK / "ts"
    shutil.copytree(WORK / "gen/ts", out / "gen", dirs_exist_ok=True)
    (out / "package.json").write_text('{"type": "module"}')
    run(WORK / "node_modules/.bin/tsc", "--strict", "--target", "es2022", "--module", "nodenext", "main.ts", cwd=out)
    return ["node", "main.js"]


def go() -> list[object] | None:
    if not shutil.which("go") or not (WORK / "gen/go").exists() or not Path("/usr/share/gocode").exists():
        return None
    path = WORK / "gopath/src/example.com"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(WORK / "gen/go", path, dirs_exist_ok=True)
    run("go", "build", "-o", "main", cwd=WORK / "go", GO111MODULE="off", GOPATH=f"{WORK / 'gopath'}:/usr/share/gocode")
    return ["./main"]


def java() -> list[object] | None:
    sources = list((WORK / "gen/java").rglob("*.java"))
    if not shutil.which("javac") or not sources or not Path("/usr/share/java/grpc-stub.jar").exists():
        return None
    jars = [f"/usr/share/java/{name}.jar" for name in JARS]
    path = ":".join(["classes", *jars])
    run("javac", "-nowarn", "-encoding", "UTF-8", "-cp", path, "-d", "classes", *sources, "Main.java", cwd=WORK / "java")
    return ["java", "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-cp", path, "Main"]


def check(language: str, output: str) -> None:
    """Every program says the same things, in its language's words."""
    expected = (
        r"classify: (SENTIMENT_)?POSITIVE ",
        r"stream 0: (SENTIMENT_)?POSITIVE",
        r"stream 1: .*blank",
        r"stream 2: (SENTIMENT_)?NEGATIVE",
        r"rejected: (?i:invalid_?argument)",
    )
    for pattern in expected:
        if not re.search(pattern, output):
            raise SystemExit(f"{language}: nothing matches {pattern!r} in\n{output}")


def main() -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    extract()
    generate()
    commands = {build.__name__: build() for build in (python, ts, go, java)}
    flags = ["--model", MODEL, "--listen", "127.0.0.1:0", "--threads", "1"]
    server = subprocess.Popen([BINARY, "serve", *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        lines = (re.search(r"127\.0\.0\.1:\d+", re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in server.stdout)
        address = next(filter(None, lines))[0]
        for language, command in commands.items():
            if command is None:
                print(f"{language}: skipped, its tools are not installed")
                continue
            check(language, run(*command, address, cwd=WORK / language))
            print(f"{language}: runs")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
