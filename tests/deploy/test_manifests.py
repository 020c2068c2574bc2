"""What the manifests say is what the code does: settings, ports, health services, grace times, memory, rights."""

from __future__ import annotations

import argparse
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sidebeam.cores import FRONT
from sidebeam.server import command
from sidebeam.server.application import LIVENESS
from sidebeam.server.config.config import Config
from sidebeam.telemetry.metric import METRICS
from sidebeam.workers import process

ROOT = Path(__file__).parents[2]

BACKEND_STOP_S = 15  # what the example backend asks for besides its preStop
SLACK_S = 5  # for a process to end and a kubelet to notice
START_S = 300  # a model of some gigabytes, read from a network volume, loaded and warmed up


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def quantity(text: str) -> float:
    """Kubernetes' way of writing numbers of bytes and cores."""
    number, unit = re.fullmatch(r"(\d+)(m|Mi|Gi|)", text).groups()
    return int(number) * {"": 1, "m": 1e-3, "Mi": 2**20, "Gi": 2**30}[unit]


def kinds(container: Any, kind: str) -> list[dict[str, Any]]:
    return [each for each in container.manifests if each["kind"] == kind]


def selects(selector: dict[str, Any], container: Any) -> bool:
    return selector.items() <= container.labels.items()


def pre_stop_s(spec: dict[str, Any]) -> int:
    return spec.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)


def drain_s(config: Config) -> float:
    """The longest that a front takes from SIGTERM to its end: it stops its workers one after the other."""
    targets = 0 if config.target.addresses else config.target.replicas
    drafts = 0 if config.draft.mode == "off" or config.draft.address else 1
    server = config.server
    return server.drain_delay_s + server.drain_timeout_s + (targets + drafts) * config.supervision.stop_grace_s


def test_each_overlay_runs_what_it_is_named_for(ours):
    found = {(each.overlay, each.owner["kind"], each.is_front) for each in ours}
    assert found == {
        ("gpu", "Deployment", True),
        ("mtls", "Deployment", True),
        ("multinode", "LeaderWorkerSet", True),
        ("multinode", "LeaderWorkerSet", False),
        ("sidecar", "Deployment", True),
        ("standalone", "Deployment", True),
    }


def test_the_servers_loader_takes_every_front_settings(fronts, tmp_path):
    for front in fronts:
        config = front.settings(tmp_path)
        assert config != Config(), "nothing was set"
        assert config.log.format == "json"


def test_the_commands_parser_takes_every_fronts_arguments(fronts):
    parser = argparse.ArgumentParser(exit_on_error=False)
    command.add_arguments(parser)
    for front in fronts:
        name, *arguments = front.spec["args"]
        assert name == "serve"
        args = parser.parse_args(arguments)
        mounts = {each["mountPath"]: each for each in front.spec["volumeMounts"]}
        assert mounts[str(args.bundle)]["readOnly"]
        assert mounts[str(args.config.parent)]["readOnly"]
        assert args.config.name == "config.toml"


def test_all_names_that_are_used_exist(ours):
    for container in ours:
        names = {(each["kind"], each["metadata"]["name"]) for each in container.manifests}
        assert ("ServiceAccount", container.pod["serviceAccountName"]) in names
        for volume in container.pod["volumes"]:
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"] == {"claimName": "sidebeam-bundle", "readOnly": True}
        declared = {volume["name"] for volume in container.pod["volumes"]}
        assert {mount["name"] for mount in container.spec["volumeMounts"]} == declared


def test_ports_are_those_that_are_served(fronts, tmp_path):
    for front in fronts:
        config = front.settings(tmp_path)
        addresses = {"grpc": config.server.listen, "metrics": config.telemetry.listen}
        if config.server.health_listen:
            addresses["health"] = config.server.health_listen
        assert front.ports == {name: port_of(address) for name, address in addresses.items()}
        for address in addresses.values():
            assert address.startswith("0.0.0.0:"), "neither the kubelet nor Prometheus reaches the loopback address"


def test_probes_ask_what_the_server_answers(fronts, tmp_path):
    """No name is the sidecar as a whole, whatever services its bundle has; `liveness` is the process alone."""
    for front in fronts:
        secure = front.settings(tmp_path).tls.certificate != ""
        port = front.ports["health" if secure else "grpc"]  # probes speak no TLS
        assert front.spec["startupProbe"]["grpc"] == {"port": port}
        assert front.spec["readinessProbe"]["grpc"] == {"port": port}
        assert front.spec["livenessProbe"]["grpc"] == {"port": port, "service": LIVENESS}
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert front.spec[name]["timeoutSeconds"] <= front.spec[name]["periodSeconds"]
        startup = front.spec["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= START_S


def test_certificates_come_from_a_secret(fronts, tmp_path):
    (front,) = (each for each in fronts if each.overlay == "mtls")
    tls = front.settings(tmp_path).tls
    files = {name: Path(getattr(tls, name)) for name in ("certificate", "key", "client_ca")}
    assert {name: path.name for name, path in files.items()} == {
        "certificate": "tls.crt",
        "key": "tls.key",
        "client_ca": "ca.crt",
    }
    for path in files.values():
        assert front.volume(str(path.parent))["secret"]["secretName"] == "sidebeam-tls"


def test_probes_ask_what_a_target_worker_answers(workers):
    for worker in workers:
        port = worker.ports["worker"]
        assert worker.spec["startupProbe"]["grpc"] == {"port": port}
        assert worker.spec["readinessProbe"]["grpc"] == {"port": port}
        assert worker.spec["livenessProbe"]["grpc"] == {"port": port, "service": process.LIVENESS}
        assert f"--listen=0.0.0.0:{port}" in worker.spec["args"]
        startup = worker.spec["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= START_S


def test_fronts_have_time_to_drain(fronts, tmp_path):
    for front in fronts:
        others = [each for each in front.pod["containers"] if each is not front.spec]
        before = max((pre_stop_s(each) + BACKEND_STOP_S for each in others), default=0)
        needed = before + pre_stop_s(front.spec) + drain_s(front.settings(tmp_path)) + SLACK_S
        assert front.pod["terminationGracePeriodSeconds"] >= needed, front.overlay


def test_only_callers_from_afar_need_a_delay(fronts, tmp_path):
    delays = {front.overlay: front.settings(tmp_path).server.drain_delay_s for front in fronts}
    assert delays.pop("sidecar") == 0
    assert min(delays.values()) >= 5


def test_only_callers_from_afar_look_for_new_pods(fronts, tmp_path):
    ages = {front.overlay: front.settings(tmp_path).server.max_connection_age_s for front in fronts}
    assert ages.pop("sidecar") == 0
    assert min(ages.values()) > 0


def test_target_workers_outlive_their_fronts_drain(fronts, workers, tmp_path):
    for worker in workers:
        (front,) = (each for each in fronts if each.overlay == worker.overlay)
        server = front.settings(tmp_path).server
        wait = pre_stop_s(worker.spec)
        assert wait >= server.drain_delay_s + server.drain_timeout_s
        assert worker.pod["terminationGracePeriodSeconds"] >= wait + process.STOP_GRACE_S + SLACK_S


def test_a_fronts_threads_fit_its_cpu_request(fronts, tmp_path):
    for front in fronts:
        config = front.settings(tmp_path)
        targets = 0 if config.target.addresses else config.target.replicas
        assert config.target.threads > 0, "0 counts the node's cores: a CPU request is no limit"
        threads = targets * config.target.threads + config.draft.threads + FRONT
        resources = front.spec["resources"]
        assert threads <= quantity(resources["requests"]["cpu"])


def test_memory_is_bounded_and_volumes_in_memory_are_counted(ours):
    for container in ours:
        resources = container.spec["resources"]
        limit = quantity(resources["limits"]["memory"])
        assert resources["requests"]["memory"] == resources["limits"]["memory"]
        assert "cpu" not in resources["limits"]
        volumes = [volume["emptyDir"] for volume in container.pod["volumes"] if "emptyDir" in volume]
        assert all("sizeLimit" in each for each in volumes)
        in_memory = sum(quantity(each["sizeLimit"]) for each in volumes if each.get("medium") == "Memory")
        assert in_memory < limit / 4


def test_gpus_come_with_the_build_that_can_use_them(ours, tmp_path):
    for container in ours:
        gpus = int(container.spec["resources"]["limits"].get("nvidia.com/gpu", 0))
        image = container.spec["image"].partition(":")[0]
        assert image == ("sidebeam-cuda" if gpus else "sidebeam-cpu")
        if container.is_front:
            config = container.settings(tmp_path)
            assert {config.target.device, config.draft.device} == {"cuda" if gpus else "cpu"}
        if gpus:
            assert container.volume("/dev/shm")["emptyDir"]["medium"] == "Memory"


def test_nothing_runs_with_more_rights_than_it_needs(ours):
    for container in ours:
        assert container.pod["automountServiceAccountToken"] is False
        assert container.pod["enableServiceLinks"] is False, "links are variables that begin with SIDEBEAM_"
        security = container.pod["securityContext"] | container.spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == 65532
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & container.pod.keys()


def test_what_is_written_has_a_volume(ours):
    """Sockets and spilled layers go to /tmp, caches to the image's home."""
    for container in ours:
        assert "emptyDir" in container.volume("/tmp")
        assert "emptyDir" in container.volume("/var/cache/sidebeam")
        if container.is_front:
            assert container.volume("/tmp")["emptyDir"]["medium"] == "Memory"


def test_images_are_of_this_version(ours):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {each.spec["image"].partition(":")[2] for each in ours} == {version}


def test_fronts_of_all_overlays_are_alike(fronts):
    """One container, written in several places: what an overlay does not mean to change is the same in all."""
    first, *others = (front for front in fronts if front.overlay != "mtls")
    for other in others:
        for key in ("args", "ports", "readinessProbe", "livenessProbe"):
            assert other.spec[key] == first.spec[key]
        here, there = ({each["mountPath"] for each in front.spec["volumeMounts"]} for front in (first, other))
        assert here ^ there <= {"/dev/shm"}


def test_the_sidecar_is_a_native_one(fronts):
    (front,) = (each for each in fronts if each.overlay == "sidecar")
    assert front.spec in front.pod["initContainers"]
    assert front.spec["restartPolicy"] == "Always"
    (backend,) = front.pod["containers"]
    environment = {each["name"]: each["value"] for each in backend["env"]}
    assert environment["SIDEBEAM_ADDRESS"] == f"127.0.0.1:{front.ports['grpc']}"


def test_services_are_headless_and_lead_to_fronts(fronts):
    seen = 0
    for front in fronts:
        for service in kinds(front, "Service"):
            seen += 1
            assert service["spec"]["clusterIP"] == "None"
            assert selects(service["spec"]["selector"], front)
            (port,) = service["spec"]["ports"]
            assert port["port"] == front.ports[port["targetPort"]]
    assert seen == 4


def test_policies_open_the_ports_that_are_served_and_no_other(ours):
    for container in ours:
        policies = [
            each["spec"]
            for each in kinds(container, "NetworkPolicy")
            if selects(each["spec"]["podSelector"]["matchLabels"], container)
        ]
        assert policies, container.overlay
        assert all("Ingress" in policy["policyTypes"] for policy in policies)
        rules = [rule for policy in policies for rule in policy["ingress"]]
        opened = {port["port"] for rule in rules for port in rule["ports"]}
        expected = set(container.ports.values()) - {container.ports.get("health")}  # the kubelet is always let in
        if container.overlay == "sidecar":  # its only caller is in the pod
            expected = expected - {container.ports["grpc"]} | {8080}
            rules = [rule for rule in rules if rule["ports"] != [{"port": 8080}]]
        assert opened == expected
        assert all(rule["from"] for rule in rules), "open to everybody"


def test_a_disruption_takes_one_pod_at_a_time(fronts, workers):
    standing = [front for front in fronts if front.overlay != "multinode"] + workers
    for container in standing:
        budgets = [
            each["spec"]
            for each in kinds(container, "PodDisruptionBudget")
            if selects(each["spec"]["selector"]["matchLabels"], container)
        ]
        assert [budget["maxUnavailable"] for budget in budgets] == [1]


def test_the_autoscaler_reads_a_metric_that_exists(fronts):
    seen = 0
    for front in fronts:
        for scaler in kinds(front, "HorizontalPodAutoscaler"):
            seen += 1
            spec = scaler["spec"]
            target = {key: front.owner[key] for key in ("apiVersion", "kind")} | {
                "name": front.owner["metadata"]["name"]
            }
            assert spec["scaleTargetRef"] == target
            assert "replicas" not in front.owner["spec"], "applying it again would undo the autoscaler's work"
            assert 2 <= spec["minReplicas"] < spec["maxReplicas"]
            (metric,) = spec["metrics"]
            name = metric["pods"]["metric"]["name"]
            assert [each.kind for each in METRICS if each.name == name] == ["gauge"]
    assert seen == 3


def test_a_group_front_names_the_workers_of_its_group(fronts, workers, tmp_path):
    (worker,) = workers
    (front,) = (each for each in fronts if each.overlay == worker.overlay)
    spec = front.owner["spec"]["leaderWorkerTemplate"]
    name, port = front.owner["metadata"]["name"], worker.ports["worker"]
    expected = [f"$(POD_NAME)-{index}.{name}:{port}" for index in range(1, spec["size"])]
    assert front.settings(tmp_path).target.addresses == expected
    environment = {each["name"]: each.get("valueFrom") for each in front.spec["env"]}
    assert list(environment).index("POD_NAME") < list(environment).index("SIDEBEAM_TARGET__ADDRESSES")
    assert environment["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    services = {each["metadata"]["name"] for each in kinds(front, "Service")}
    assert name not in services, "the controller makes a headless service of this name"
    assert front.owner["spec"]["startupPolicy"] == "LeaderCreated", "the leader is not ready before its workers"


def test_every_front_is_scraped(render, fronts):
    (monitor,) = (each["spec"] for each in render("monitoring") if each["kind"] == "PodMonitor")
    (endpoint,) = monitor["podMetricsEndpoints"]
    for front in fronts:
        assert selects(monitor["selector"]["matchLabels"], front)
        assert endpoint["port"] in front.ports


@pytest.mark.parametrize("key", ["dashboard.json"])
def test_the_dashboard_reaches_grafana(render, key):
    (dashboard,) = (each for each in render("monitoring") if each["kind"] == "ConfigMap")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["data"][key] == (ROOT / "deploy" / "monitoring" / key).read_text()


def test_the_operators_rules_are_the_alerts_that_are_tested(render):
    import yaml

    (rule,) = (each for each in render("monitoring") if each["kind"] == "PrometheusRule")
    alerts = yaml.safe_load((ROOT / "deploy" / "monitoring" / "alerts.yml").read_text())
    assert rule["spec"] == alerts, "copy deploy/monitoring/alerts.yml below spec of prometheusrule.yaml"
