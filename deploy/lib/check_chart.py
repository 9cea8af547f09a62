"""Checks what no schema says of the rendered chart: check_chart.py REPOSITORY FILE...

Prints what is wrong, and ends with 1 if anything is.
"""

import math
import pathlib
import re
import sys
import tomllib

import yaml

repository = pathlib.Path(sys.argv[1])
wrong = []
# Of each object that cannot be changed once it is there: what it is, by kind and name, and in which file.
fixed = {}


def pods_of(thing):
    """The pod template of an object, or the pod itself."""
    spec = thing.get("spec", {})
    match thing["kind"]:
        case "Pod":
            return [(thing["metadata"].get("labels", {}), spec)]
        case "Deployment" | "Job":
            template = spec["template"]
        case "CronJob":
            template = spec["jobTemplate"]["spec"]["template"]
        case _:
            return []
    return [(template["metadata"]["labels"], template["spec"])]


def check_pod(where, pod, programs):
    """What the Pod Security Standard "restricted" asks for, and what the programs need."""
    security = pod["securityContext"]
    rules = {
        "has a token of the API server": pod["automountServiceAccountToken"] is not False,
        "may run as root": not security["runAsNonRoot"] or security["runAsUser"] == 0,
        "has no seccomp profile": security["seccompProfile"]["type"] != "RuntimeDefault",
    }
    wrong.extend(f"{where} {rule}" for rule, is_broken in rules.items() if is_broken)
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in pod.get("initContainers", []) + pod["containers"]:
        check_container(f"{where}, container {container['name']},", container, programs, volumes)


def check_container(where, container, programs, volumes):
    """The same of each container, those that run before the others too."""
    limits = container["securityContext"]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    memory_and_cpu = container["resources"].get("limits", {})
    rules = {
        "may gain privileges": limits["allowPrivilegeEscalation"] is not False,
        "has a writable root": not limits["readOnlyRootFilesystem"],
        "keeps capabilities": limits["capabilities"] != {"drop": ["ALL"]},
        "has no limit of memory": "memory" not in memory_and_cpu,
        "is throttled": "cpu" in memory_and_cpu,
        "never sees renewed secrets": "subPath" in mounts.get("secrets", {}),
        f"runs {container['command'][0]}, which is no program": container["command"][0] not in programs,
        "has nowhere to write": mounts["workspace"]["mountPath"] != container["workingDir"],
        "mounts a volume that its pod does not have": not set(mounts) <= volumes,
    }
    wrong.extend(f"{where} {rule}" for rule, is_broken in rules.items() if is_broken)


def check_grace(where, pod, config, component):
    """A pod is killed no earlier than its program has promised to end."""
    defaults = {"processor": 20000, "api": 10000}
    if component not in defaults:
        return
    timeout = config.get(component, {}).get("stop_timeout_ms", defaults[component])
    needed = math.ceil(timeout * 1.25 / 1000) + 2
    needed += sum(hook["sleep"]["seconds"] for hook in pod["containers"][0].get("lifecycle", {}).values())
    if pod["terminationGracePeriodSeconds"] < needed:
        wrong.append(f"{where} is killed before it has stopped: {needed} s are needed")


def check_exit_codes(where, job, component):
    """What a program calls a result is not tried again; docs/operations/errors.md has the codes."""
    rules = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    failing = [rule["onExitCodes"]["values"] for rule in rules if rule["action"] == "FailJob"]
    expected = {"audit": [[1, 3]], "restore": [[1, 2, 3, 4]], "totals": [], "batch": []}[component]
    if failing != expected:
        wrong.append(f"{where} fails at once with {failing}, and not {expected}")
    if not any(rule["action"] == "Ignore" and "onPodConditions" in rule for rule in rules):
        wrong.append(f"{where} counts a drained node as a failure")


def check_fixed(path, thing):
    """What Kubernetes lets nobody change must have another name where it differs: an upgrade would be refused."""
    spec = thing.get("spec", {})
    match thing["kind"]:
        case "Job":
            part = spec["template"]
        case "Deployment":
            part = spec["selector"]
        case _:
            return
    name = (thing["kind"], thing["metadata"]["name"])
    before, seen = fixed.setdefault(name, (path.name, part))
    if seen != part:
        wrong.append(f"{path.name}: {' '.join(name)} is another one than in {before}, and has its name")


def selectors_of(thing):
    """What an object selects pods by."""
    spec = thing.get("spec", {})
    match thing["kind"]:
        case "Service":
            return [spec["selector"]]
        case "Deployment" | "PodDisruptionBudget" | "PodMonitor":
            return [spec["selector"]["matchLabels"]]
        case "NetworkPolicy":
            return [spec["podSelector"]["matchLabels"]]
    return []


def check(path):
    things = [thing for thing in yaml.safe_load_all(path.read_text()) if thing]
    names = [(thing["kind"], thing["metadata"]["name"]) for thing in things]
    if len(names) != len(set(names)):
        wrong.append(f"{path.name} has two objects of one name")
    (config,) = (thing["data"]["stitch.toml"] for thing in things if thing["kind"] == "ConfigMap")
    config = tomllib.loads(config)
    pods = [(thing, labels, pod) for thing in things for labels, pod in pods_of(thing)]
    claims = {name for kind, name in names if kind == "PersistentVolumeClaim"} | {"journals"}
    for thing, labels, pod in pods:
        component = labels["app.kubernetes.io/component"]
        where = f"{path.name}: {thing['kind']} {component}"
        check_pod(where, pod, programs)
        if thing["kind"] == "Deployment":
            check_grace(where, pod, config, component)
        if thing["kind"] == "CronJob":
            check_exit_codes(where, thing, component)
        for volume in pod["volumes"]:
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            if claim is not None and claim not in claims:
                wrong.append(f"{where} mounts the claim {claim}, which nobody makes")
    for thing in things:
        check_fixed(path, thing)
        for selector in selectors_of(thing):
            if not any(selector.items() <= labels.items() for _, labels, _ in pods):
                wrong.append(f"{path.name}: {thing['kind']} {thing['metadata']['name']} selects no pod")
        if thing["kind"] == "PrometheusRule" and thing["spec"] != rules:
            wrong.append(f"{path.name}: the rules are not those of deploy/alerts/stitch.yaml")
    return len(things)


manifests = repository.glob("*/Cargo.toml")
programs = {name for path in manifests for name in re.findall(r'^name = "(stitch-[a-z]+)"', path.read_text(), re.M)}
text = (repository / "deploy/alerts/stitch.yaml").read_text()
rules = yaml.safe_load(text.replace("runbook_url: docs/", "runbook_url: https://docs.example/stitch/docs/"))
version = tomllib.loads((repository / "Cargo.toml").read_text())["workspace"]["package"]["version"]
chart = yaml.safe_load((repository / "deploy/helm/stitch/Chart.yaml").read_text())
if chart["appVersion"] != version:
    wrong.append(f"Chart.yaml is for {chart['appVersion']}, and the programs are {version}")
count = sum(check(pathlib.Path(path)) for path in sys.argv[2:])
print("\n".join(wrong) or f"chart: {count} objects in {len(sys.argv) - 2} variants are valid")
sys.exit(1 if wrong else 0)
