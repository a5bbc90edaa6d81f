"""Checks deploy/kubernetes.yaml: each object by Kubernetes' own schema, and what wharf needs of them together.

Writes the settings that the ConfigMap holds to the file that is named, to be checked by wharf itself.
"""

import sys

import kubernetes_validate
import yaml

VERSION = "1.31"

with open("deploy/kubernetes.yaml", encoding="utf-8") as file:
    objects = list(yaml.safe_load_all(file))
for thing in objects:
    kubernetes_validate.validate(thing, VERSION, strict=True)
by_kind = {thing["kind"]: thing for thing in objects}
assert len(by_kind) == len(objects) == 5, sorted(by_kind)

deployment = by_kind["Deployment"]["spec"]
pod = deployment["template"]["spec"]
(container,) = pod["containers"]
# Two must not share a store, not even for a moment.
assert deployment["replicas"] == 1 and deployment["strategy"] == {"type": "Recreate"}

# What is named is there.
labels = deployment["template"]["metadata"]["labels"]
assert deployment["selector"]["matchLabels"] == labels == by_kind["Service"]["spec"]["selector"]
volumes = {volume["name"]: volume for volume in pod["volumes"]}
assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
assert volumes["data"]["persistentVolumeClaim"]["claimName"] == by_kind["PersistentVolumeClaim"]["metadata"]["name"]
assert volumes["settings"]["configMap"]["name"] == by_kind["ConfigMap"]["metadata"]["name"]
(token,) = [variable["valueFrom"]["secretKeyRef"] for variable in container["env"]]
assert token["name"] == by_kind["Secret"]["metadata"]["name"] and token["key"] in by_kind["Secret"]["stringData"]
# Nobody runs it with a token that all the world knows: wharf takes none so short.
assert len(by_kind["Secret"]["stringData"][token["key"]]) < 16
ports = {port["name"]: port["containerPort"] for port in container["ports"]}
for probe, path in [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]:
    assert container[probe]["httpGet"] == {"path": path, "port": "admin"}, probe
# What operators see is not for everybody.
assert [port["targetPort"] for port in by_kind["Service"]["spec"]["ports"]] == ["http"]

# Mounted whole: a file that is mounted by subPath is never replaced.
mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
assert all("subPath" not in mount for mount in mounts.values())
(settings_name,) = by_kind["ConfigMap"]["data"]
assert container["args"] == ["--config", f"/etc/wharf/{settings_name}"] and "/etc/wharf" in mounts
settings = by_kind["ConfigMap"]["data"][settings_name]
assert f':{ports["http"]}"' in settings and f':{ports["admin"]}"' in settings and 'dir = "/data"' in settings
assert "/data" in mounts

# The least that it can do with.
assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
security = container["securityContext"]
assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
assert security["capabilities"] == {"drop": ["ALL"]}
assert "memory" in container["resources"]["limits"]

with open(sys.argv[1], "w", encoding="utf-8") as file:
    file.write(settings)
print("deploy: kubernetes.yaml: ok")
