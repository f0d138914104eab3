"""Lets the Collector check its configurations, and compares them with what it is made of.

    collector_configs.py FOLDER

FOLDER has agent.yaml, gateway.yaml and test.yaml; otelcol is found on the PATH.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

# test.yaml has no defaults.
TEST = {"OTLP_GRPC_PORT": "1", "OTLP_HTTP_PORT": "2", "HEALTH_PORT": "3", "OTLP_OUT": "out.jsonl"}
SECTIONS = ("receivers", "processors", "connectors", "exporters", "extensions")


def otelcol(*arguments):
    return subprocess.run(["otelcol", *arguments], env={**os.environ, **TEST}, check=True, text=True, stdout=subprocess.PIPE).stdout


def effective(file):
    """The configuration with every default of the Collector, once it has found it valid."""
    otelcol("validate", f"--config={file}")
    print(f"ok: the Collector accepts {file.name}")
    return json.loads(otelcol("print-config", f"--config={file}", "--format=json", "--mode=unredacted"))


def built_in():
    found, section = set(), None
    for line in otelcol("components").splitlines():
        if match := re.fullmatch(r"(\w+):.*", line):
            section = match[1]
        elif (match := re.fullmatch(r" +- name: (\S+)", line)) and section in SECTIONS:
            found.add((section, match[1]))
    return found


def active(config):
    """The components that some pipeline or the service names: what is only configured runs nowhere."""
    service, named = config["service"], {section: set() for section in SECTIONS}
    named["extensions"].update(service["extensions"])
    for pipeline in service["pipelines"].values():
        for section in ("receivers", "processors", "exporters"):
            named[section].update(pipeline.get(section) or [])
    for section in SECTIONS:
        idle = set(config.get(section) or {}) - named[section]
        assert not idle, f"in no pipeline: {section} {sorted(idle)}"
    return {(section, name.partition("/")[0]) for section in SECTIONS for name in named[section]}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1]).resolve()
    configs = {name: effective(folder / f"{name}.yaml") for name in ("agent", "gateway", "test")}

    used = set().union(*map(active, configs.values()))
    assert used == built_in(), f"used and not built in: {used - built_in()}; built in and not used: {built_in() - used}"
    print(f"ok: builder.yaml names exactly the {len(used)} components used")

    agent, gateway = configs["agent"]["processors"], configs["gateway"]["processors"]
    for name in ("redaction", "transform/status"):
        assert agent[name] == gateway[name], f"{name} is not the same in agent.yaml and gateway.yaml"
    print("ok: agent and gateway redact the same")

    for name in ("agent", "gateway"):
        text = (folder / f"{name}.yaml").read_text(encoding="utf-8")
        bare = re.findall(r"\$\{env:\w+\}", text)
        assert not bare, f"{name}.yaml: no default for {bare}"
        readme = (folder / "README.md").read_text(encoding="utf-8")
        for variable, default in re.findall(r"\$\{env:(\w+):-([^}]*)\}", text):
            row = f"| `{variable}` | `{default}` |"
            assert row in readme, f"README.md lacks {row}"
    print("ok: every variable has a default, and README.md says which")


if __name__ == "__main__":
    main()
