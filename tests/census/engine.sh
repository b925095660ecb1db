#!/bin/sh
# Inside the machine, as root: starts Debian's Docker engine with the image of the sandbox, and then the meter.
set -eu
modprobe -a overlay veth bridge
mkdir -p /etc/docker /run/docker
# gVisor: as docs/hardening.md says, and without control groups of its own, which its old release can't make everywhere.
cat >/etc/docker/daemon.json <<'JSON'
{"iptables": false, "ip6tables": false, "bridge": "none",
 "runtimes": {"runsc": {"path": "/usr/bin/runsc", "runtimeArgs": ["--oci-seccomp", "--network=none", "--platform=ptrace"]}}}
JSON
dockerd >/srv/docker.log 2>&1 &
tries=0
until docker version >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || { tail -n 20 /srv/docker.log; exit 69; }
    sleep 1
done
echo "== $(docker version --format '{{.Server.Version}}'), $(runc --version | head -n 1)"
docker load --quiet <image.tar
# Debian's engine has known holes, and none of them is what is measured here.
export SANDFLEET_SANDBOX_ALLOW_OUTDATED_ENGINE=true SANDFLEET_SANDBOX_DOCKER_POOL_SIZE=0 SANDFLEET_SANDBOX_IMAGE=sandfleet/sandbox:latest
exec python3 meter.py "$@"
