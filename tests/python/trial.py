#!/usr/bin/env python3
"""Kills processes while recordings are played through plugins in Python, and checks that nothing is lost or doubled.

Each recording is played undisturbed first. Then it is played in a given time while `kill -9` ends the plugins' processes
at random moments, hosts and guardians, and again while the node itself is killed and the same command goes on.
The outputs must be those of the undisturbed run, and after a node's death no process of it may be left.

    python3 tests/python/trial.py --teammy target/debug/teammy --recordings FOLDER [--kills 20] [--seed N]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
INSTANCES = ("keys", "state")
# How long a process may take to be gone; only a failing trial waits so long.
PATIENCE = 20.0


def configuration(python: str | None) -> str:
    table = ""
    for instance in INSTANCES:
        named = f", python = {json.dumps(python)}" if python else ""
        path = json.dumps(str(HERE / "plugins" / instance))
        table += f'[[plugin]]\nname = "{instance}"\nkind = "python"\nconfig = {{ path = {path}{named} }}\n\n'
    return table


def children() -> dict[int, list[int]]:
    """The children of each process."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parent = int(Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                continue
            found.setdefault(parent, []).append(int(name))
    return found


def below(root: int) -> list[int]:
    tree, found, queue = children(), [], [root]
    while queue:
        for child in tree.get(queue.pop(), ()):
            found.append(child)
            queue.append(child)
    return found


def is_there(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


class Trial:
    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.teammy, self.folder, self.random = options.teammy, folder, random.Random(options.seed)
        self.seconds, self.kills = options.seconds, options.kills
        (folder / "teammy.toml").write_text(configuration(options.python))
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("TEAMMY_")}
        self.environment["HOME"] = str(folder)

    def command(self, *arguments: str) -> list[str]:
        return [self.teammy, *arguments]

    def run(self, *arguments: str) -> str:
        ran = subprocess.run(self.command(*arguments), cwd=self.folder, env=self.environment, capture_output=True, text=True)
        if ran.returncode != 0:
            sys.exit(f"{arguments} failed with {ran.returncode}:\n{ran.stderr[-4000:]}")
        return ran.stdout

    def replay(self, recording: Path, meeting: str, *more: str) -> list[str]:
        database = f"surrealkv://{self.folder / 'database'}"
        return ["replay", str(recording), "--meeting", meeting, "--db", database, *more]

    def outputs(self, meeting: str) -> list[object]:
        database = f"surrealkv://{self.folder / 'database'}"
        lines = self.run("history", meeting, "--json", "--db", database).splitlines()
        packets = [json.loads(line) for line in lines]
        numbers = {}
        outputs = []
        for packet in packets:
            if packet.get("source") in INSTANCES:
                outputs.append((packet["source"], [numbers[seq] for seq in packet["causes"] if seq in numbers], packet["payload"]))
            elif packet.get("source") not in (None, "meeting", "plugin-status"):
                # Which packet of the recording it is: seqs differ between runs.
                numbers[packet["seq"]] = len(numbers)
        return sorted(outputs, key=lambda output: output[0])

    def start(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        log = open(self.folder / "log", "ab")
        return subprocess.Popen(self.command(*arguments), cwd=self.folder, env=self.environment, stdout=log, stderr=log)

    def failed(self, why: str) -> NoReturn:
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        sys.exit("\n".join([why, *lines[-30:]]))

    def hosts(self, node: int) -> list[int]:
        """Guardians and hosts of a node."""
        return [process for process in below(node) if is_there(process)]

    def speed(self, recording: Path) -> str:
        times = []
        for line in recording.read_text().splitlines():
            if line.strip():
                times.append(json.loads(line)["timestamp"])
        from datetime import datetime

        first, last = (datetime.fromisoformat(at.replace("Z", "+00:00")) for at in (times[0], times[-1]))
        return f"{max(1.0, (last - first).total_seconds() / self.seconds):.0f}x"

    def kill_children(self, recording: Path, meeting: str, kills: int) -> int:
        log = self.folder / "log"
        before = log.stat().st_size if log.exists() else 0
        node = self.start(self.replay(recording, meeting, "--speed", self.speed(recording)))
        done = 0
        # A node whose plugins are killed again and again before they have started once does not start.
        while node.poll() is None and b"\n[" not in log.read_bytes()[before:]:
            time.sleep(0.02)
        while node.poll() is None:
            try:
                node.wait(self.random.uniform(0.05, min(self.seconds / 2, 2 * self.seconds / max(1, kills))))
            except subprocess.TimeoutExpired:
                pass
            there = self.hosts(node.pid)
            if there and done < kills and node.poll() is None:
                # The last ones are hosts, which run hooks; a guardian is killed now and then.
                victim = self.random.choice(there)
                try:
                    os.kill(victim, 9)
                    done += 1
                except ProcessLookupError:
                    pass
        if node.returncode != 0:
            self.failed(f"the replay of {meeting} failed with {node.returncode}")
        return done

    def kill_nodes(self, recording: Path, meeting: str, kills: int) -> int:
        done = 0
        speed = self.speed(recording)
        while True:
            node = self.start(self.replay(recording, meeting, "--speed", speed))
            seen: set[int] = set()
            try:
                until = time.monotonic() + self.random.uniform(0.3, 1.0 + 2 * self.seconds / max(1, kills))
                while done < kills and time.monotonic() < until and node.poll() is None:
                    seen.update(below(node.pid))
                    try:
                        node.wait(0.02)
                    except subprocess.TimeoutExpired:
                        pass
                if done < kills and node.poll() is None:
                    node.kill()
                    done += 1
                code = node.wait()
            finally:
                if node.poll() is None:
                    node.kill()
            self.gone(seen)
            if code == 0:
                return done
            if code != -9:
                self.failed(f"the replay of {meeting} failed with {code}")

    def gone(self, processes: set[int]) -> None:
        until = time.monotonic() + PATIENCE
        while left := [process for process in processes if is_there(process)]:
            if time.monotonic() > until:
                sys.exit(f"processes of a dead node are left: {left}")
            time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teammy", required=True, help="the program")
    parser.add_argument("--recordings", required=True, type=Path, help="a folder with packets as JSON lines, or a file")
    parser.add_argument("--meetings", type=int, default=3, help="how many recordings are played")
    parser.add_argument("--kills", type=int, default=20, help="how many processes of plugins are killed, and how many nodes")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long a recording is played")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--python", help="the interpreter of the plugins")
    options = parser.parse_args()
    options.teammy = str(Path(options.teammy).resolve())
    options.recordings = options.recordings.resolve()
    # Not resolved: an environment's interpreter is a link to another one.
    options.python = options.python and str(Path(options.python).absolute())
    options.seed = random.randrange(1_000_000) if options.seed is None else options.seed
    files = [options.recordings] if options.recordings.is_file() else sorted(options.recordings.glob("*.jsonl"))
    files = random.Random(options.seed).sample(files, min(options.meetings, len(files)))
    print(f"seed {options.seed}: {', '.join(file.stem for file in files)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="teammy-python-") as folder:
        trial = Trial(options, Path(folder))
        trial.run("install")
        killed, compared = {"children": 0, "nodes": 0}, 0
        for index, file in enumerate(files):
            share = lambda of: of // len(files) + (index < of % len(files))
            trial.run(*trial.replay(file, f"{file.stem}-quiet"))
            expected = trial.outputs(f"{file.stem}-quiet")
            for what, kill in (("children", trial.kill_children), ("nodes", trial.kill_nodes)):
                left, attempt = share(options.kills), 0
                while left > 0:
                    # A recording may end before all are killed.
                    attempt += 1
                    meeting = f"{file.stem}-{what}-{attempt}"
                    done = kill(file, meeting, left)
                    left -= done
                    outputs = trial.outputs(meeting)
                    if outputs != expected:
                        pairs = enumerate(zip(outputs, expected))
                        at = next((n for n, (a, b) in pairs if a != b), min(len(outputs), len(expected)))
                        sys.exit(
                            f"{meeting} after {done} kills: {len(outputs)} outputs, expected {len(expected)}; "
                            f"they differ from number {at}: {outputs[at:at + 1]} and {expected[at:at + 1]}"
                        )
                    compared += len(outputs)
                    killed[what] += done
                    print(f"{meeting}: {done} killed, {len(outputs)} outputs as expected", flush=True)
        print(f"all right: {killed['children']} processes of plugins and {killed['nodes']} nodes killed, {compared} outputs compared")


if __name__ == "__main__":
    main()
