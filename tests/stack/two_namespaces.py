"""A container's Prometheus and a service on the host, as on Linux: what reaches what, and what does not.

    unshare --user --map-root-user --net --mount two_namespaces.py SCRATCH EXAMPLE

This process is the host, with the address that Docker's bridge has there; a second network namespace is the container.
Prometheus in it reads config/prometheus.yml and knows host.docker.internal as compose.yaml's extra_hosts makes it known.
"""

import json
import os
import signal
import subprocess
import sys
import urllib.parse
from contextlib import ExitStack
from pathlib import Path

from programs import get, running, until

ROOT = Path(__file__).resolve().parents[2]
HOST, CONTAINER = "172.17.0.1", "172.17.0.2"
TOKEN = "a-token-of-the-tests"


def run(*command):
    subprocess.run(command, check=True)


class Container:
    def __init__(self, process, folder):
        self.enter = ["nsenter", f"--target={process.pid}", "--net", "--mount", "--"]
        own = os.readlink("/proc/self/ns/net")
        until("there is a second network", lambda: os.readlink(f"/proc/{process.pid}/ns/net") != own)
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "bridge", "type", "veth", "peer", "name", "eth0", "netns", str(process.pid))
        run("ip", "address", "add", f"{HOST}/16", "dev", "bridge")
        run("ip", "link", "set", "bridge", "up")
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{HOST} host.docker.internal\n")
        for command in (["ip", "address", "add", f"{CONTAINER}/16", "dev", "eth0"], ["ip", "link", "set", "eth0", "up"],
                        ["ip", "link", "set", "lo", "up"], ["mount", "--bind", str(folder / "hosts"), "/etc/hosts"]):
            run(*self.enter, *command)


def target():
    """The scrape of the service as Prometheus sees it."""
    answer = json.loads(get(f"http://{CONTAINER}:9090/api/v1/targets?{urllib.parse.urlencode({'state': 'active'})}"))
    found = [one for one in answer["data"]["activeTargets"] if one["labels"]["job"] == "alpha-oracle-metrics"]
    return found[0] if found else {"health": "unknown", "lastError": ""}


def main():
    folder, example = Path(sys.argv[1]).resolve(), str(Path(sys.argv[2]).resolve())
    (folder / "token").write_text(TOKEN)
    committed = (ROOT / "config/prometheus.yml").read_text()
    (folder / "prometheus.yml").write_text(committed.replace("15s", "1s").replace("/run/secrets/metrics_token", str(folder / "token")))
    with ExitStack() as stack:
        box = stack.enter_context(running("container", ["unshare", "--net", "--mount", "sleep", "3600"], folder, signal.SIGTERM, ends_with=(-signal.SIGTERM,)))
        container = Container(box, folder)
        stack.enter_context(running("prometheus", [
            *container.enter, "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={CONTAINER}:9090"], folder, signal.SIGTERM))

        def scraped_by(what, good, **settings):
            with running("example", [example, "--pace-ms", "100"], folder, signal.SIGINT, **settings):
                until(what, lambda: good(target()))

        scraped_by("on loopback alone the service is not reached from a container",
                   lambda one: one["health"] == "down" and "connection refused" in one["lastError"],
                   SA_MONITORING__BEARER_TOKEN=TOKEN)
        scraped_by("on the bridge's address too, with the token, it is scraped", lambda one: one["health"] == "up",
                   SA_MONITORING__BEARER_TOKEN=TOKEN, SA_MONITORING__PROMETHEUS_HOST=f"127.0.0.1,{HOST}")
        scraped_by("with another token it is refused", lambda one: one["health"] == "down" and "401" in one["lastError"],
                   SA_MONITORING__BEARER_TOKEN="another-token-of-the-tests", SA_MONITORING__PROMETHEUS_HOST=f"127.0.0.1,{HOST}")


if __name__ == "__main__":
    main()
