"""Three real nodes in network namespaces, with meetings under way, and one kind of fault; then a check of the history.

    python3 trial.py --teammy PATH --server PATH --fault kill --seed 1

Needs root (for namespaces) and the program `ip`. docs: README.md beside this file.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

from check import check, count_published, figures
from world import API, CLIENTS, NODES, PLUGINS, STORE, Failed, World, address

HERE = Path(__file__).resolve().parent
INSTANCES = ["watch-list", "talk-time"]


class Trial:
    """One run: a fault by its name and seed."""

    def __init__(self, arguments, fault, seed, folder):
        self.arguments, self.fault, self.seed, self.folder = arguments, fault, seed, Path(folder)
        self.rng = random.Random(f"{fault} {seed}")
        self.began = time.monotonic()
        self.events = []
        self.at_fault, self.affected, self.victim = None, set(), None
        # Until when waits belong to the fault.
        self.until = float("inf")
        self.figures = {}

    def note(self, text):
        now = time.monotonic()
        self.events.append({"at": now, "event": text})
        if self.arguments.verbose:
            print(f"  {now - self.began:7.2f} {text}", flush=True)

    def run(self):
        meetings = self.plan_meetings()
        with World(self.folder, self.arguments.teammy, self.arguments.server, self.note, self.arguments.lease,
                   self.arguments.log) as world:
            self.world = world
            plan = {"do": "live", "seed": f"{self.fault} {self.seed}", "folder": str(self.folder), "key": world.key,
                    "nodes": [(address(node), API) for node in NODES], "plugins": INSTANCES, "meetings": meetings,
                    "rate": self.arguments.rate, "ending": 120,
                    "since": (datetime.now(timezone.utc) - timedelta(minutes=1)).isoformat()}
            clients = self.start_clients(plan)
            try:
                self.expect(clients, "started")
                self.note("the clients are there")
                time.sleep(self.arguments.warm + self.rng.uniform(0, 2))
                world.await_whole()
                getattr(self, "fault_" + self.fault.replace("-", "_"))()
                time.sleep(self.arguments.settle)
                self.note("the meetings end")
                clients.stdin.write("finish\n")
                clients.stdin.flush()
                hung = json.loads(clients.stdout.readline() or '{"hung": ["the clients themselves"]}')["hung"]
                self.note("the meetings have ended")
                leftovers = world.leftovers(20)
                self.note("the cluster is tidy" if not leftovers else "something is left over")
            finally:
                clients.kill()
                clients.wait()
            count_published(self.folder, meetings)
            (self.folder / "meetings.json").write_text(json.dumps(meetings))
            self.reference(plan, meetings)
        wrong = check(self.folder)
        for client in hung:
            wrong.setdefault(client, []).append("a client did not come to its end")
        if leftovers:
            wrong["the cluster"] = leftovers
        self.figures.update(figures(self.folder, meetings, self.at_fault, self.until, self.affected))
        return wrong

    def plan_meetings(self):
        if self.arguments.recordings:
            recordings = sorted(Path(self.arguments.recordings).glob("*.jsonl"))
        else:
            recordings = sorted((HERE.parent.parent / "samples").glob("*.jsonl"))
        meetings = []
        for number in range(self.arguments.meetings):
            recording = recordings[number % len(recordings)]
            packets = len(recording.read_text().splitlines())
            meetings.append({"id": f"m{number:03}-{recording.stem}", "recording": str(recording),
                             "first": self.rng.randrange(packets), "durable": number % 4 != 3})
        return meetings

    def start_clients(self, plan):
        command = self.world.network.inside(CLIENTS, sys.executable, str(HERE / "load.py"))
        errors = open(self.folder / "clients.log", "ab")
        clients = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        clients.stdin.write(json.dumps(plan) + "\n")
        clients.stdin.flush()
        return clients

    @staticmethod
    def expect(clients, line):
        said = clients.stdout.readline().strip()
        if said != line:
            raise Failed(f"the clients said {said!r}")

    def reference(self, plan, meetings):
        """What the plugins put out of the same packets on one node that nothing disturbs."""
        configuration = self.folder / "reference.toml"
        configuration.write_text(f'[node]\nsocket = "off"\n[service]\nlisten = "127.0.0.1:{API}"\n{PLUGINS}')
        log = open(self.folder / "reference.log", "ab")
        command = (self.arguments.teammy, "--config", configuration, "node", "--db", "mem://", "--json")
        command = self.world.network.inside(CLIENTS, *map(str, command))
        node = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            json.loads(node.stdout.readline())
            clients = self.start_clients({**plan, "do": "reference", "key": None, "nodes": [("127.0.0.1", API)],
                                          "meetings": [meeting for meeting in meetings if meeting["count"]]})
            try:
                if not clients.stdout.readline():
                    raise Failed("the expected outputs could not be made; clients.log says why")
            finally:
                clients.kill()
                clients.wait()
        finally:
            node.kill()
            node.wait()

    # What happens.

    def strike(self, victim=None):
        """Notes what runs on the node that is hit, and begins to count time."""
        self.victim = victim
        if victim:
            self.affected = self.world.meetings(victim) or set()
            self.note(f"{victim} is hit; it runs {len(self.affected)} meetings")
        self.at_fault = time.monotonic()

    def pick(self):
        return self.rng.choice(NODES)

    def watch(self, victim):
        """Notes when each of the other nodes knows that the victim is away."""
        others = [node for node in NODES if node != victim]
        reports = {node: self.world.report(node) for node in others}
        incarnation = next((node["incarnation"] for nodes in reports.values() for node in nodes or ()
                            if node["incarnation"].rpartition(".")[0] == victim and node["lease"] == "held"), None)
        noticed = self.figures.setdefault("noticed", {})

        def look(observer):
            by = self.at_fault + 40
            while time.monotonic() < by:
                nodes = self.world.report(observer, 1)
                now = round(time.monotonic() - self.at_fault, 2)
                if nodes is not None:
                    seen = next((node for node in nodes if node["incarnation"] == incarnation), None)
                    if seen is None or not (seen["link"] and seen["link"]["is_up"]):
                        noticed.setdefault(f"link at {observer}", now)
                    if seen is None or seen["lease"] != "held":
                        noticed.setdefault(f"lease at {observer}", now)
                        return
                time.sleep(0.1)

        def begin():
            for observer in others:
                threading.Thread(target=look, args=(observer,), daemon=True).start()

        return begin

    def restored(self, *nodes):
        """Waits until all are back."""
        self.world.await_whole()
        self.note(f"the cluster is whole, {time.monotonic() - self.at_fault:.1f} s after the fault")

    def fault_none(self):
        self.strike(self.pick())
        time.sleep(self.arguments.hold)

    def fault_kill(self):
        victim = self.pick()
        begin = self.watch(victim)
        self.strike(victim)
        self.world.programs[victim].end(signal.SIGKILL)
        begin()
        time.sleep(self.arguments.hold)
        self.world.programs[victim].start()
        self.restored()

    def fault_restart(self):
        victim = self.pick()
        begin = self.watch(victim)
        self.strike(victim)
        self.world.programs[victim].end(signal.SIGKILL)
        self.world.programs[victim].start()
        begin()
        time.sleep(self.arguments.hold)
        self.restored()

    def fault_stop(self):
        victim = self.pick()
        begin = self.watch(victim)
        self.strike(victim)
        self.world.programs[victim].signal(signal.SIGSTOP)
        begin()
        time.sleep(20)
        self.world.programs[victim].signal(signal.SIGCONT)
        self.note(f"{victim} goes on")
        self.restored()

    def cut(self, *ways):
        for sender, receiver in ways:
            self.note(f"what {sender} sends to {receiver} is lost")
            self.world.network.cut(sender, receiver)
        time.sleep(self.arguments.hold)
        for sender, receiver in ways:
            self.world.network.heal(sender, receiver)
        self.note("healed")
        self.restored()

    def fault_partition(self):
        one, other = self.rng.sample(NODES, 2)
        self.strike(one)
        self.cut((one, other), (other, one))

    def fault_store_cut(self):
        victim = self.pick()
        begin = self.watch(victim)
        self.strike(victim)
        begin()
        self.cut((victim, STORE), (STORE, victim))

    def fault_one_way(self):
        one, other = self.rng.sample(NODES, 2)
        self.strike(one)
        self.cut(self.rng.choice([(one, other), (one, STORE), (STORE, one)]))

    def stop_store(self, seconds):
        self.strike()
        store = self.world.programs[STORE]
        if self.rng.random() < 0.5:
            self.note("the store stands still")
            store.signal(signal.SIGSTOP)
            time.sleep(seconds)
            store.signal(signal.SIGCONT)
        else:
            self.note("the store is killed")
            store.end(signal.SIGKILL)
            time.sleep(seconds)
            store.start()
        self.note("the store is back")
        time.sleep(5)
        self.restored()

    def fault_store_4(self):
        self.stop_store(4)

    def fault_store_15(self):
        self.stop_store(15)

    def fault_drain(self):
        victim = self.pick()
        asked = self.rng.choice(NODES)
        self.strike(victim)
        answer = self.world.ask(asked, {"ask": "drain", "node": victim}, 60)
        self.figures["drained after"] = round(time.monotonic() - self.at_fault, 2)
        left = self.world.meetings(victim)
        self.note(f"drained, asked at {asked}: {answer}; it still runs {len(left) if left is not None else '?'}")
        self.figures["left by the drain"] = len(left) if left is not None else None
        time.sleep(3)
        # What comes of the restart is another matter.
        self.until = time.monotonic()
        self.world.programs[victim].end(signal.SIGTERM)
        self.world.programs[victim].start()
        time.sleep(2)
        self.restored()

    def fault_rolling(self):
        self.strike()
        took = self.figures["stopped after"] = {}
        for node in self.rng.sample(NODES, len(NODES)):
            began = time.monotonic()
            self.affected |= self.world.meetings(node) or set()
            self.world.programs[node].end(signal.SIGTERM)
            took[node] = round(time.monotonic() - began, 2)
            self.note(f"{node} has stopped")
            self.world.programs[node].start()
            self.world.await_node(node)
            self.world.await_whole()
            time.sleep(self.arguments.pause)


FAULTS = [name.removeprefix("fault_").replace("_", "-") for name in vars(Trial) if name.startswith("fault_")]


def seeds_of(text):
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--teammy", required=True, type=Path, help="the program")
    parser.add_argument("--server", required=True, type=Path, help="the SurrealDB server")
    parser.add_argument("--fault", required=True, help=f"with commas between several, or all: {', '.join(FAULTS)}")
    parser.add_argument("--seed", default="1", type=seeds_of, help="one, or several as 1-10")
    parser.add_argument("--recordings", help="a folder with recordings; the project's samples without it")
    parser.add_argument("--meetings", type=int, default=60)
    parser.add_argument("--rate", type=float, default=1.0, help="packets a second and meeting")
    parser.add_argument("--warm", type=float, default=8, help="seconds before the fault")
    parser.add_argument("--hold", type=float, default=15, help="how long it lasts, if it is one that lasts")
    parser.add_argument("--settle", type=float, default=10, help="seconds after it")
    parser.add_argument("--pause", type=float, default=3, help="seconds between the restarts of a rolling one")
    parser.add_argument("--lease", help="cluster.lease, such as 6s")
    parser.add_argument("--log", default="info", help="log.filter of the nodes")
    parser.add_argument("--keep", type=Path, help="keep logs and histories in this folder; else those of failed runs only")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    arguments.faults = [name for name in FAULTS if name != "none"] if arguments.fault == "all" else arguments.fault.split(",")
    unknown = set(arguments.faults) - set(FAULTS)
    if unknown:
        parser.error(f"--fault takes {', '.join(FAULTS)} or all, not {', '.join(sorted(unknown))}")
    arguments.teammy, arguments.server = arguments.teammy.resolve(), arguments.server.resolve()
    return arguments


def one(arguments, fault, seed):
    if arguments.keep:
        folder = arguments.keep.resolve() / f"{fault}-{seed}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    else:
        folder = Path(tempfile.mkdtemp(prefix=f"teammy-trial-{fault}-{seed}-"))
    print(f"{fault}, seed {seed}, {arguments.meetings} meetings", flush=True)
    trial = Trial(arguments, fault, seed, folder)
    load_before = os.getloadavg()[0]
    try:
        wrong = trial.run()
    except (Failed, subprocess.SubprocessError) as failed:
        wrong = {"trial": [f"{failed} {getattr(failed, 'stderr', None) or ''}"]}
    result = {"fault": fault, "seed": seed, "right": not wrong, "seconds": round(time.monotonic() - trial.began, 1),
              "load": [round(load_before, 1), round(os.getloadavg()[0], 1)], "affected": len(trial.affected),
              "victim": trial.victim, **trial.figures}
    (folder / "result.json").write_text(json.dumps({**result, "wrong": wrong, "events": trial.events}, indent=1))
    print(json.dumps(result), flush=True)
    for meeting, complaints in list(wrong.items())[:8]:
        for complaint in complaints[:4]:
            print(f"  WRONG {meeting}: {complaint[:400]}", flush=True)
    if wrong:
        print(f"  {folder} has the logs", flush=True)
    elif not arguments.keep:
        shutil.rmtree(folder)
    return not wrong


def main():
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = [one(arguments, fault, seed) for fault in arguments.faults for seed in arguments.seed]
    print(f"{sum(results)} of {len(results)} right")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
