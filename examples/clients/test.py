#!/usr/bin/env python3
"""Runs the clients against a node that is killed again and again, and checks that they lose and double nothing.

    test.py [PROGRAM]      PROGRAM is a built `teammy`, or the variable TEAMMY_BIN says where it is
    SEED=7 test.py         repeats what is random: when the node is stopped, and how

It starts a node on a free port of loopback, with a database in a temporary folder. Each client runs alone, and then all at
once; meanwhile the node is stopped at random moments, most often by SIGKILL, and started again on its port and database.
Before that, each meets an invented node (flaky_node.py) that answers in all the ways that a client has to cope with.
What cannot run for want of a program is skipped, and named.
"""

import argparse
import contextlib
import json
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE / "python"))

from flaky_node import FlakyNode  # noqa: E402
from teammy import Client, path_of  # noqa: E402

# How long a node may take to listen, a client to get one output further, and a client to be done, in seconds.
START, PROGRESS, DONE = 60, 60, 180

KEY = "a key"

CONFIG = '[[plugin]]\nname = "talk-time"\nconfig = { every = 1 }\n'


class Failure(Exception):
    """What was expected did not happen."""


class Node:
    """A node that keeps its port and its database when it is started again."""

    def __init__(self, program, folder, database):
        (folder / "teammy.toml").write_text(CONFIG)
        self._arguments = [program, "node", "--config", str(folder / "teammy.toml"), "--json"]
        self._arguments += ["--db", database or f"surrealkv://{folder / 'database'}"]
        self._folder, self._port, self._process = folder, 0, None
        self.log = folder / "node.log"

    def start(self):
        """Returns before it listens: a node may be killed while it starts."""
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [*self._arguments, "--listen", f"127.0.0.1:{self._port}"],
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
            )
        self._said = queue.Queue()
        threading.Thread(target=self._read, args=(self._process.stdout, self._said), daemon=True).start()

    @staticmethod
    def _read(output, said):
        with output:
            for line in output:
                said.put(json.loads(line))
        said.put({"type": "closed"})

    def ready(self):
        """Waits until it has resumed its meetings."""
        until = time.monotonic() + START
        while True:
            try:
                said = self._said.get(timeout=max(0, until - time.monotonic()))
            except queue.Empty:
                raise Failure(f"the node was not ready after {START} s") from None
            if said["type"] == "listening":
                self._port = int(said["address"].rpartition(":")[2])
            elif said["type"] == "resumed":
                if said["failed"]:
                    raise Failure(f"the node could not resume {said['failed']} meetings")
                return
            elif said["type"] == "closed":
                raise Failure(f"the node stopped by itself, with code {self._process.wait(START)}")

    def stop(self, how):
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            code = self._process.wait(START)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise Failure(f"the node did not stop within {START} s of {how.name}") from None
        finally:
            self._process = None
        # A node that was told to stop while it starts may not have got to listen to signals.
        if code not in (0, -how):
            raise Failure(f"the node stopped with code {code}")

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}"


class Run:
    """A client at work."""

    def __init__(self, name, command, meeting, count, url, folder, progress, **settings):
        self.name, self.meeting, self.count = name, meeting, count
        self.lines, self.is_done = [], False
        self._progress = progress
        self.errors = folder / f"{name}.log"
        environment = {**os.environ, "TEAMMY_URL": url, "TEAMMY_KEY": KEY, "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("TEAMMY_GIVE_UP_AFTER", None)
        environment.update(settings)
        with self.errors.open("w") as errors:
            # A group of its own, to end what it has started, too.
            self.process = subprocess.Popen(
                [*command, meeting, str(count)], env=environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
            )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with self.process.stdout as output:
            for line in output:
                with self._progress:
                    self.lines.append(line.rstrip("\n"))
                    self._progress.notify_all()
        with self._progress:
            self.is_done = True
            self._progress.notify_all()

    def end(self):
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def outputs(self):
        """The outputs that it printed, and how often it connected again."""
        try:
            code = self.process.wait(DONE)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} closed its output, but does not exit") from None
        if code != 0:
            raise Failure(f"{self.name} exited with {code}")
        *printed, last = self.lines or [""]
        summary = re.fullmatch(r"published (\d+), received (\d+), reconnected (\d+)", last)
        if not summary:
            raise Failure(f"{self.name} did not end with its summary, but with {last!r}")
        published, received, reconnected = map(int, summary.groups())
        # One output for each packet, and one at the end.
        if (published, received, len(printed)) != (self.count, self.count + 1, self.count + 1):
            raise Failure(f"{self.name}: {self.count} packets, {len(printed)} outputs, and it says {last!r}")
        return printed, reconnected

    def check(self, client):
        """What it printed and published is what the meeting has. Returns how often it connected again."""
        printed, reconnected = self.outputs()
        stored = [f"{packet['seq']} {packet['source']}" for packet in history(client, self.meeting, "talk-time")]
        if printed != stored:
            raise Failure(f"{self.name} printed {printed}, but the meeting has {stored}")
        self.check_packets(packet["payload"] for packet in history(client, self.meeting, "transcription"))
        return reconnected

    def check_packets(self, payloads):
        turns = [payload["text"] for payload in payloads]
        if turns != [f"This is turn {turn + 1}." for turn in range(self.count)]:
            raise Failure(f"{self.name} published {turns}")

    def say(self):
        print(f"--- {self.name}: the last lines, and what went wrong", *self.lines[-5:], sep="\n")
        print(self.errors.read_text()[-3000:])


def history(client, meeting, source):
    """The stored packets of a source."""
    packets, after = [], "0"
    while after is not None:
        page = client.request("GET", f"{path_of(meeting)}/packets?sources={source}&after={after}")
        packets += page["packets"]
        after = page["next"]
    return packets


def disturb(node, runs, options, chance, progress):
    """Stops the node at random moments of the clients' work, and starts it again. Returns how often."""
    def printed():
        return sum(len(run.lines) for run in runs)

    def are_done():
        return all(run.is_done for run in runs)

    total = sum(run.count + 1 for run in runs)
    # The first one may come before the meeting is there, the last ones while it ends.
    moments = [0, *sorted(chance.randint(1, total) for _ in range(options.stops - 1))]
    for number, moment in enumerate(moments):
        until, seen = time.monotonic() + PROGRESS, -1
        with progress:
            while printed() < moment and not are_done():
                if printed() > seen:
                    until, seen = time.monotonic() + PROGRESS, printed()
                if not progress.wait(max(0, until - time.monotonic())):
                    raise Failure(f"no client printed anything for {PROGRESS} s, at {seen} of {total} outputs")
            # Somewhat later: not just when an output has arrived.
            progress.wait_for(are_done, chance.uniform(0, 0.1 if number == 0 else 0.02))
            if are_done():
                return number
        node.stop(signal.SIGTERM if chance.random() < options.sigterm else signal.SIGKILL)
        node.start()
        if chance.random() < 0.3:
            # It is killed while it starts, or while it resumes.
            with progress:
                progress.wait_for(are_done, chance.uniform(0, 0.3))
            node.stop(signal.SIGKILL)
            node.start()
        node.ready()
    return len(moments)


def play(node, clients, label, options, seed, folder):
    """Runs clients at once, against a node that is stopped meanwhile."""
    # Each part has its own chance, so that its seed repeats it whatever the others do.
    chance = random.Random(f"{seed} {label}")
    progress = threading.Condition()
    client = Client(node.url, give_up_after=START)
    runs = []
    began = time.monotonic()
    try:
        for name, command in clients.items():
            runs.append(Run(name, command, f"{label} {name}: {seed}", options.count, node.url, folder, progress))
        stops = disturb(node, runs, options, chance, progress)
        with progress:
            if not progress.wait_for(lambda: all(run.is_done for run in runs), DONE):
                late = ", ".join(f"{run.name} ({len(run.lines)} lines)" for run in runs if not run.is_done)
                raise Failure(f"not done after {DONE} s: {late}")
        reconnected = [run.check(client) for run in runs]
    except Failure:
        for run in runs:
            run.end()
            run.say()
        print("--- the node", node.log.read_text()[-3000:], sep="\n")
        raise
    finally:
        for run in runs:
            run.end()
    if stops == 0:
        raise Failure("the clients were done before the node was stopped; give a larger --count")
    counts = ", ".join(f"{run.name} reconnected {count}" for run, count in zip(runs, reconnected))
    print(f"ok: seed {seed}, {label}: {stops} stops; {counts}; {time.monotonic() - began:.1f} s", flush=True)


def meet_faults(name, command, options, seed, folder):
    """Runs a client against the invented node. What happens is by chance, and by the order in which requests come."""
    progress, began = threading.Condition(), time.monotonic()
    # Most of the time is spent waiting after faults.
    count = min(options.count, 150)
    with FlakyNode(random.Random(f"{seed} {name}"), KEY) as node:
        run = Run(name, command, f"flaky-{name}-{seed}", count, node.url, folder, progress)
        try:
            with progress:
                if not progress.wait_for(lambda: run.is_done, DONE):
                    raise Failure(f"{name} is not done after {DONE} s")
            printed, reconnected = run.outputs()
            if printed != [f"{2 * turn + 2} talk-time" for turn in range(count + 1)]:
                raise Failure(f"{name} printed {printed}")
            run.check_packets(packet["payload"] for packet in node.meetings[run.meeting].packets)
            if node.wrong:
                raise Failure(f"{name}: {'; '.join(node.wrong)}")
        except Failure:
            run.end()
            run.say()
            print(f"--- what happened: {node.faults}")
            raise
        finally:
            run.end()
            node.shutdown()
    faults, kinds = sum(node.faults.values()), len(node.faults)
    print(f"ok: seed {seed}, {name} with {faults} faults of {kinds} kinds: reconnected {reconnected}; "
          f"{time.monotonic() - began:.1f} s", flush=True)


def be_rejected(name, command, folder):
    """A client whose key is wrong says so, and does not try for ever."""
    progress = threading.Condition()
    with FlakyNode(random.Random(0), KEY) as node:
        run = Run(name, command, "rejected", 1, node.url, folder, progress, TEAMMY_KEY="another key")
        try:
            code = run.process.wait(START)
        except subprocess.TimeoutExpired:
            raise Failure(f"{name} goes on for {START} s though it is rejected") from None
        finally:
            run.end()
            node.shutdown()
    if code != 1 or node.meetings or "about" not in run.errors.read_text():
        raise Failure(f"{name} is rejected, and exits with {code}: {run.errors.read_text()}")


def bash_parser(bash):
    """The parser in bash reads events in pieces of any size."""
    script = (
        f"source '{HERE / 'curl' / 'teammy.sh'}'\n"
        'show() { printf "[%s|%s|%s]" "$@"; [[ $3 != stop ]]; }\n'
        "teammy_parse show 6"
    )
    stream = (
        "\ufeff: a comment\ndata: first\n\n"
        'id: 7\ndata: {"text":\ndata:  "h\u00e9 \U0001f600"}\n\n'
        "id: 8\r\nevent: note\r\ndata: two\r\n\r\n"
        "data\n\nevent: nothing\nid: 10\n\n"
        "unknown: field\ndata: a: b\n\ndata: \\x *\n\n"
        "id: 11\ndata: cut off"
    ).encode()
    expected = (
        '[message|6|first][message|7|{"text":\n "h\u00e9 \U0001f600"}][note|8|two][message|8|]'
        "[message|10|a: b][message|10|\\x *]"
    )
    for size in (1, 2, 3, 5, len(stream)):
        with subprocess.Popen([bash, "-uc", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
            for at in range(0, len(stream), size):
                process.stdin.write(stream[at : at + size])
            parsed, _ = process.communicate(timeout=START)
        if parsed.decode() != expected:
            raise Failure(f"in pieces of {size} bytes, the parser in bash reads {parsed.decode()!r}")
    stopped = subprocess.run([bash, "-uc", script], input=b"data: stop\n\ndata: more\n\n", capture_output=True, timeout=START)
    if (stopped.returncode, stopped.stdout) != (1, b"[message|6|stop]"):
        raise Failure(f"the parser in bash goes on when its handler fails: {stopped}")


def command(name, arguments, folder):
    """A command that is to succeed."""
    done = subprocess.run(arguments, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise Failure(f"{name}: code {done.returncode}\n{done.stdout}{done.stderr}")


def typescript():
    """How the client in TypeScript is run, and the commands that test it first; or what is missing."""
    folder = HERE / "typescript"
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node:
        return "node", None, []
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=START).stdout
    major, minor = map(int, re.match(r"v(\d+)\.(\d+)", version).groups())
    if (major, minor) >= (22, 6):
        run = [node, "--experimental-strip-types", "--no-warnings"]
        return None, [*run, str(folder / "example.ts")], [[*run, "--test", "teammy.test.ts"]]
    if not npm:
        return "npm, or Node 22.6 or newer", None, []
    install = [] if (folder / "node_modules").exists() else [[npm, "ci"]]
    return None, [node, str(folder / "dist" / "example.js")], [*install, [npm, "test"]]


class Results:
    """Counts what passed. A failure does not keep the others from being tried."""

    def __init__(self):
        self.passed, self.failed, self.skipped = 0, 0, 0

    def attempt(self, label, check):
        try:
            check()
            self.passed += 1
            return True
        except Failure as failure:
            self.failed += 1
            print(f"FAILED: {label}: {failure}", flush=True)
            return False

    def skip(self, label, missing):
        self.skipped += 1
        print(f"skipped: {label}: it needs {missing}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", default=os.environ.get("TEAMMY_BIN"), help="a built teammy")
    parser.add_argument("--rounds", type=int, default=1, help="how many seeds, one after the other")
    parser.add_argument("--count", type=int, default=400, help="how many packets each client publishes")
    parser.add_argument("--meetings", type=int, default=3, help="how many meetings there are when all run at once")
    parser.add_argument("--db", help="a database server instead, such as ws://127.0.0.1:8000; it must be empty")
    parser.add_argument("--sigterm", type=float, default=0.25, help="which part of the stops is by SIGTERM")
    parser.add_argument("--stops", type=int, default=5, help="how often the node is stopped in each part")
    parser.add_argument("--busy", type=int, default=0, help="how many processes keep the processor busy meanwhile")
    options = parser.parse_args()
    program = options.program and shutil.which(options.program)
    if not program:
        parser.error("give the path of a built teammy, or set TEAMMY_BIN")
    first_seed = int(os.environ.get("SEED") or random.randrange(1_000_000))

    results, clients = Results(), {}
    python = [sys.executable, "-m", "unittest"]
    if results.attempt("python", lambda: command("unittest", python, HERE / "python")):
        clients["python"] = [sys.executable, str(HERE / "python" / "example.py")]
    missing, run, tests = typescript()
    if missing:
        results.skip("typescript", missing)
    elif results.attempt("typescript", lambda: [command(test[1], test, HERE / "typescript") for test in tests]):
        clients["typescript"] = run
    bash = shutil.which("bash")
    if not bash or not shutil.which("curl"):
        results.skip("curl", "bash and curl")
    elif results.attempt("curl", lambda: bash_parser(bash)):
        clients["curl"] = [bash, str(HERE / "curl" / "example.sh")]

    with tempfile.TemporaryDirectory(prefix="teammy-clients-") as folder:
        for name, run in clients.items():
            results.attempt(f"{name} with a wrong key", lambda: be_rejected(name, run, Path(folder)))

    of_each = list(clients.items())
    numbered = [(number, *of_each[number % len(of_each)]) for number in range(options.meetings if of_each else 0)]
    together = {f"{name} {number}": run for number, name, run in numbered}
    parts = [(name, {name: run}) for name, run in clients.items()] + [("together", together)]
    with contextlib.ExitStack() as ending:
        for _ in range(options.busy):
            spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            ending.callback(spinning.wait)
            ending.callback(spinning.kill)
        for seed in range(first_seed, first_seed + options.rounds):
            print(f"seed {seed}", flush=True)
            with tempfile.TemporaryDirectory(prefix="teammy-clients-") as folder:
                for name, run in clients.items():
                    def faults():
                        meet_faults(name, run, options, seed, Path(folder))
                    results.attempt(f"seed {seed}, {name} with faults", faults)
                node = Node(program, Path(folder), options.db)
                for label, some in parts:
                    def part():
                        try:
                            node.start()
                            node.ready()
                            play(node, some, label, options, seed, Path(folder))
                        finally:
                            node.stop(signal.SIGKILL)
                    results.attempt(f"seed {seed}, {label}", part)
    print(f"{results.passed} passed, {results.failed} failed, {results.skipped} skipped")
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
