#!/usr/bin/env python3
"""A plugin loops for ever, eats memory, and forks and dies, while another one serves the same meetings on the same node.

Prints how long the other one's outputs take, before and meanwhile, and checks at the end that `kill -9` of the node leaves
no process behind.

    python3 tests/python/misbehave.py --teammy target/debug/teammy [--seconds 10] [--rate 50]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from trial import HERE, PATIENCE, below, is_there

PORT = 17690


def configuration() -> str:
    def instance(name: str, more: str = "") -> str:
        path = json.dumps(str(HERE / "plugins" / name))
        python = json.dumps(sys.executable)
        return f'[[plugin]]\nname = "{name}"\nkind = "python"\nconfig = {{ path = {path}, python = {python}{more} }}\n'

    service = f'[service]\nlisten = "127.0.0.1:{PORT}"\n[database]\nurl = "mem://"\n'
    return service + instance("state") + instance("misbehaves", ', memory = "128MiB", stall = "2s"') + '[[plugin]]\nname = "talk-time"\n'


def ask(path: str, body: object) -> object:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


class Meeting:
    """A meeting, and how long outputs take from the packet's publishing on."""

    def __init__(self, name: str) -> None:
        self.name, self.count = name, 0
        self.sent: dict[int, float] = {}
        self.took: list[float] = []
        ask("/v1/meetings", {"id": name, "plugins": ["state", "misbehaves", "talk-time"]})
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self) -> None:
        url = f"http://127.0.0.1:{PORT}/v1/meetings/{self.name}/events?outputs=true"
        try:
            with urllib.request.urlopen(url, timeout=120) as events:
                for line in events:
                    if line.startswith(b"data:") and b'"source":"state"' in line:
                        number = json.loads(line[5:])["payload"]["packets"]
                        self.took.append(time.monotonic() - self.sent[number])
        except OSError:
            # The node is killed in the end.
            pass

    def say(self) -> None:
        self.count += 1
        self.sent[self.count] = time.monotonic()
        packet = {"source": "transcription", "participant": "Ada", "payload": {"text": "one two", "start_ms": 0, "end_ms": 1}}
        ask(f"/v1/meetings/{self.name}/packets", packet)

    def chat(self, what: str) -> None:
        ask(f"/v1/meetings/{self.name}/packets", {"source": "chat", "participant": "Ada", "payload": {"text": what}})


def measure(meetings: list[Meeting], seconds: float, rate: float, node: int, seen: set[int]) -> str:
    """Publishes, and collects the processes that are seen meanwhile."""
    for meeting in meetings:
        meeting.took.clear()
    sent, began, looked = 0, time.monotonic(), 0.0
    while (passed := time.monotonic() - began) < seconds:
        if sent < passed * rate:
            meetings[sent % len(meetings)].say()
            sent += 1
        elif passed > looked + 0.1:
            looked = passed
            seen.update(below(node))
        else:
            time.sleep(0.001)
    until = time.monotonic() + PATIENCE
    while sum(len(meeting.took) for meeting in meetings) < sent and time.monotonic() < until:
        time.sleep(0.01)
    took = sorted(second for meeting in meetings for second in meeting.took)
    if len(took) < sent:
        sys.exit(f"{len(took)} outputs of {sent} packets")
    at = lambda share: 1000 * took[min(len(took) - 1, int(share * len(took)))]
    return f"{sent} packets, p50 {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms, max {1000 * took[-1]:.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teammy", required=True)
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each part takes")
    parser.add_argument("--rate", type=float, default=50.0, help="packets in a second, of all meetings")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="teammy-python-") as folder:
        Path(folder, "teammy.toml").write_text(configuration())
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TEAMMY_")} | {"HOME": folder}
        log = open(Path(folder, "log"), "wb")
        node = subprocess.Popen([str(Path(options.teammy).resolve()), "node"], cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{PORT}/v1/plugins", timeout=5).close()
                    break
                except OSError:
                    if node.poll() is not None or time.monotonic() > until:
                        sys.exit(Path(folder, "log").read_text()[-3000:])
                    time.sleep(0.05)
            meetings = [Meeting(f"m{number}") for number in range(5)]
            seen: set[int] = set()
            measured = lambda seconds: measure(meetings, seconds, options.rate, node.pid, seen)
            measured(2.0)
            print(f"before: {measured(options.seconds)}", flush=True)
            # Each is tried again, up to `hooks.tries` times. Six crashes of one meeting would suspend the instance there.
            for meeting, what in zip(meetings, ("loop", "eat", "fork")):
                meeting.chat(what)
                print(f"{what}: {measured(options.seconds)}", flush=True)
        finally:
            node.kill()
            node.wait()
        until = time.monotonic() + PATIENCE
        while left := [process for process in seen if is_there(process)]:
            if time.monotonic() > until:
                sys.exit(f"processes of the dead node are left: {left}")
            time.sleep(0.02)
        lines = Path(folder, "log").read_text(errors="replace").splitlines()
        for line in lines:
            if "started anew" in line and os.environ.get("SHOW"):
                print(line)
        print(f"after kill -9 of the node: none of {len(seen)} processes is left")


if __name__ == "__main__":
    main()
