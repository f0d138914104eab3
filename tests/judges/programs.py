"""Starts real programs on free ports of loopback and stops them; shared by real_*.py."""

import os
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager

PATIENCE = 90  # seconds, on a busy machine


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


@contextmanager
def running(name, command, folder, stop, ends_with=(0,), **environment):
    with open(folder / f"{name}.log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={**os.environ, **environment})
        try:
            yield process
            assert process.poll() is None, f"{name} ended by itself with {process.returncode}: see {log.name}"
            process.send_signal(stop)
            assert process.wait(30) in ends_with, f"{name} ended with {process.returncode} when asked to stop: see {log.name}"
        finally:
            process.kill()
            process.wait()


def until(what, attempt):
    """The first answer of `attempt` that is not empty."""
    deadline, problem = time.monotonic() + PATIENCE, "no answer"
    while time.monotonic() < deadline:
        try:
            if answer := attempt():
                print(f"ok: {what}", flush=True)
                return answer
            problem = "nothing found"
        except (OSError, AssertionError) as error:
            problem = error
        time.sleep(0.5)
    raise AssertionError(f"{what}: not within {PATIENCE} s ({problem})")
