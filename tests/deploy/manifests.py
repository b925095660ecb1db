"""Whether built manifests are valid Kubernetes, and hold what docs/deploy.md promises of them: FILE…"""

import sys

import kubernetes_validate
import yaml

# Kinds of operators, whose schemas are not the API's.
OPERATORS = {"PodMonitor", "ScaledObject"}


def pods(objects):
    for one in objects:
        if one["kind"] in ("Deployment", "DaemonSet", "Job"):
            yield one["kind"], one["metadata"]["name"], one["spec"]["template"]["spec"]


def faults(objects):
    for one in objects:
        name = f"{one['kind']} {one['metadata']['name']}"
        if one["kind"] not in OPERATORS:
            try:
                kubernetes_validate.validate(one, "1.31", strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{name}: {error.message} at {list(error.path)}"
        if one["kind"] in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "Service", "Ingress"):
            yield f"{name}: no rights in the cluster and no open port are needed"
    for kind, name, pod in pods(objects):
        worker = name == "worker"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{kind} {name}: has a token of the cluster"
        for container in pod["containers"]:
            held = container["securityContext"]
            if not held.get("readOnlyRootFilesystem") or bool(held.get("privileged")) != worker:
                yield f"{kind} {name}: {held}"
            if not worker and held.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{kind} {name}: keeps capabilities"
            if ":" not in container["image"] or "limits" not in container["resources"]:
                yield f"{kind} {name}: no tag or no limits"
            grace = {it["name"]: it.get("value") for it in container["env"]}.get("SANDFLEET_WORKER_GRACE_MS")
            if worker and int(grace) / 1000 >= pod["terminationGracePeriodSeconds"]:
                yield f"{kind} {name}: killed before its drain is over"
        if any(key in pod for key in ("hostPID", "hostNetwork", "hostIPC")):
            yield f"{kind} {name}: shares a namespace of its host"
        if worker and not (pod.get("tolerations") and pod.get("nodeSelector")):
            yield f"{kind} {name}: not kept to nodes of its own"
    denied = [one for one in objects if one["kind"] == "NetworkPolicy" and one["spec"] == {
        "podSelector": {}, "policyTypes": ["Ingress", "Egress"]}]
    if len(denied) != 1:
        yield "no policy denies all"
    names = {(one["kind"], one["metadata"]["name"]) for one in objects}
    for kind, name, pod in pods(objects):
        for volume in pod["volumes"]:
            if ("Secret", volume["secret"]["secretName"]) not in names:
                yield f"{kind} {name}: there is no secret {volume['secret']['secretName']}"


def main():
    status = 0
    for path in sys.argv[1:]:
        with open(path) as file:
            objects = [one for one in yaml.safe_load_all(file) if one]
        found = list(faults(objects))
        status |= bool(found) or len(objects) < 8
        kinds = sorted({one["kind"] for one in objects})
        print("\n".join(found) or f"ok     {path.rsplit('/', 1)[1]}: {len(objects)} objects, {', '.join(kinds)}")
    sys.exit(status)


main()
