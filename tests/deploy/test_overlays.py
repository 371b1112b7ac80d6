"""What must hold between the numbers and names of the built overlays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

BUILT = sorted(Path(os.environ["BUILT"]).glob("*.yaml"))
KINDS_OF_ALL = {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "ConfigMap", "Namespace"}


def objects(built: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(built.read_text()) if each]


def of_kind(built: Path, kind: str) -> list[dict[str, Any]]:
    return [each for each in objects(built) if each["kind"] == kind]


@pytest.fixture(params=BUILT, ids=lambda path: path.stem)
def built(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def server(built: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The replicas' pod, and the server's settings."""
    [deployment] = [each for each in of_kind(built, "Deployment") if each["metadata"]["name"] == "ko-sentiment"]
    pod = deployment["spec"]["template"]["spec"]
    name = pod["containers"][0]["envFrom"][0]["configMapRef"]["name"]
    [settings] = [each["data"] for each in of_kind(built, "ConfigMap") if each["metadata"]["name"] == name]
    return pod, settings


def test_every_overlay_is_whole(built: Path) -> None:
    assert KINDS_OF_ALL <= {each["kind"] for each in objects(built)}


def test_a_pod_lives_through_its_drain(built: Path) -> None:
    pod, settings = server(built)
    stop = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert stop + int(settings["KO_SENTIMENT_GRACE_SECONDS"]) < pod["terminationGracePeriodSeconds"]
    liveness = pod["containers"][0]["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] > int(settings["KO_SENTIMENT_GRACE_SECONDS"])


def test_every_volume_is_there(built: Path) -> None:
    pod, settings = server(built)
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
    for key in ("KO_SENTIMENT_MODEL", "KO_SENTIMENT_TLS_CERT"):
        assert key not in settings or settings[key].startswith(tuple(mounts.values())), key


def test_each_probe_asks_one_way(built: Path) -> None:
    pod, settings = server(built)
    ports = {port["containerPort"] for port in pod["containers"][0]["ports"]}
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        ways = {"grpc", "exec", "httpGet"} & set(pod["containers"][0][name])
        assert len(ways) == 1, (name, ways)
        assert "KO_SENTIMENT_TLS_CERT" not in settings or ways != {"grpc"}, "the kubelet's speaks no TLS"
    for key in ("KO_SENTIMENT_LISTEN", "KO_SENTIMENT_METRICS_LISTEN"):
        assert key not in settings or int(settings[key].rpartition(":")[2]) in ports


def test_selectors_find_pods(built: Path) -> None:
    pods = [each["spec"]["template"]["metadata"]["labels"] for each in of_kind(built, "Deployment")]
    wanted = [each["spec"]["selector"] for each in of_kind(built, "Service")]
    wanted += [each["spec"]["selector"]["matchLabels"] for each in of_kind(built, "PodDisruptionBudget")]
    wanted += [each["spec"]["podSelector"].get("matchLabels", {}) for each in of_kind(built, "NetworkPolicy")]
    for labels in wanted:
        assert any(labels.items() <= pod.items() for pod in pods), labels


def test_an_autoscaled_deployment_names_no_number(built: Path) -> None:
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in of_kind(built, "HorizontalPodAutoscaler")}
    for deployment in of_kind(built, "Deployment"):
        assert ("replicas" in deployment["spec"]) == (deployment["metadata"]["name"] not in scaled)


def test_the_proxy_reaches_the_replicas() -> None:
    built = next(path for path in BUILT if path.stem == "tls")
    [envoy] = [each["data"] for each in of_kind(built, "ConfigMap") if "envoy.yaml" in each["data"]]
    cluster = yaml.safe_load(envoy["envoy.yaml"])["static_resources"]["clusters"][0]
    address = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    service = next(each for each in of_kind(built, "Service") if each["metadata"]["name"] == address["address"])
    assert service["spec"]["clusterIP"] == "None"
    assert address["port_value"] in [port["port"] for port in service["spec"]["ports"]]
    sni = cluster["transport_socket"]["typed_config"]["sni"]
    assert sni in [name for each in of_kind(built, "Certificate") for name in each["spec"].get("dnsNames", [])]
