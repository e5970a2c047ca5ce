"""Nodes and their store in network namespaces of their own, and what can happen to them.

A bridge in a namespace of its own joins all of them. Each knows the others' Ethernet addresses by permanent entries; a cut is a
wrong entry: what is sent there arrives nowhere, and nobody is told. It works in one direction at a time.
"""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

NODES = ("n1", "n2", "n3")
STORE, CLIENTS = "st", "cl"
HOSTS = (*NODES, STORE, CLIENTS)
API, LINKS, DATABASE = 7600, 7700, 8000

PLUGINS = """
[[plugin]]
name = "watch-list"
kind = "watch-list"
config = { terms = ["the", "we", "okay", "design", "question"] }

[[plugin]]
name = "talk-time"
kind = "talk-time"
config = { every = 10 }
"""


def address(host):
    return f"10.231.7.{HOSTS.index(host) + 1}"


def ethernet(host):
    return f"02:00:00:e7:07:{HOSTS.index(host) + 1:02x}"


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


class Failed(Exception):
    """The trial cannot go on."""


class Network:
    """Namespaces whose names no other run has."""

    def __init__(self):
        self._prefix = f"tt{os.getpid()}-"
        self._made = []

    def namespace(self, host):
        return self._prefix + host

    def make(self):
        hub = self._add("hub")
        run("ip", "-n", hub, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", hub, "link", "set", "br0", "up")
        for host in HOSTS:
            name = self._add(host)
            run("ip", "-n", hub, "link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "-n", hub, "link", "set", host, "master", "br0", "up")
            run("ip", "-n", name, "link", "set", "eth0", "address", ethernet(host), "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "addr", "add", f"{address(host)}/24", "dev", "eth0")
        for one in HOSTS:
            for other in HOSTS:
                if one != other:
                    self._neighbour(one, other, ethernet(other))

    def _add(self, host):
        name = self.namespace(host)
        run("ip", "netns", "add", name)
        self._made.append(name)
        return name

    def _neighbour(self, at, of, ethernet_address):
        command = ("neigh", "replace", address(of), "lladdr", ethernet_address, "dev", "eth0", "nud", "permanent")
        run("ip", "-n", self.namespace(at), *command)

    def cut(self, sender, receiver):
        """Loses whatever `sender` sends to `receiver` from now on."""
        self._neighbour(sender, receiver, "02:00:00:e7:07:ff")

    def heal(self, sender, receiver):
        self._neighbour(sender, receiver, ethernet(receiver))

    def inside(self, host, *command):
        return ("ip", "netns", "exec", self.namespace(host), *command)

    def remove(self):
        for name in self._made:
            subprocess.run(("ip", "netns", "del", name), check=False, capture_output=True)


class Program:
    """A process in a namespace, which is started again when it ends by itself, as a service manager does."""

    def __init__(self, network, host, command, log, restarts, events):
        self.host = host
        self._command = network.inside(host, *command)
        self._log = open(log, "ab")
        self._restarts, self._events = restarts, events
        self._lock = threading.Lock()
        self._wanted, self._process = False, None
        self._gone = threading.Event()
        if restarts:
            threading.Thread(target=self._watch, daemon=True).start()

    def start(self):
        with self._lock:
            self._wanted = True
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self._events(f"{self.host} started")

    def signal(self, number):
        self._process.send_signal(number)

    def end(self, number, timeout=60):
        """Sends a signal, and waits until the process has ended. It is not started again."""
        with self._lock:
            self._wanted = False
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(timeout)

    def is_up(self):
        return self._process is not None and self._process.poll() is None

    def close(self):
        self._gone.set()
        with self._lock:
            self._wanted = False
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _watch(self):
        while not self._gone.wait(0.1):
            with self._lock:
                has_ended = self._wanted and self._process is not None and self._process.poll() is not None
            if has_ended:
                self._events(f"{self.host} ended by itself, with {self._process.returncode}")
                if self._gone.wait(1):
                    return
                with self._lock:
                    if not self._wanted:
                        continue
                self.start()


class World:
    """Three nodes over a SurrealDB server, with mTLS between them."""

    def __init__(self, folder, teammy, server, events, lease=None, log="info"):
        self.folder = Path(folder)
        self.network = Network()
        self.key = None
        self._teammy, self._server, self._events, self._lease = str(teammy), str(server), events, lease
        self._level = log
        self.programs = {}

    def __enter__(self):
        try:
            self._enter()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _enter(self):
        self.network.make()
        run(self._teammy, "certs", *NODES, "--out", self.folder / "certs", "--json")
        for node in NODES:
            (self.folder / f"{node}.toml").write_text(self._configuration(node))
        self._program(STORE, self._server, "start", "--log", "warn", "--user", "root", "--pass", "root", "--bind",
                      f"{address(STORE)}:{DATABASE}", f"surrealkv://{self.folder / 'store'}", restarts=False)
        self.programs[STORE].start()
        self.await_store()
        made = run(*self.network.inside("n1", self._teammy, "--config", self.folder / "n1.toml", "key", "create",
                                        "--tenant", "trial", "--scope", "publish,read,admin,node", "--json"))
        self.key = next(document["secret"] for line in made.splitlines() if "secret" in (document := json.loads(line)))
        for node in NODES:
            self._program(node, self._teammy, "--config", self.folder / f"{node}.toml", "node", restarts=True)
            self.programs[node].start()
        for node in NODES:
            self.await_node(node)
        self._await(30, "the nodes' links", lambda: all(self._is_joined(node) for node in NODES))

    def __exit__(self, *_):
        for program in self.programs.values():
            program.close()
        self.network.remove()

    def _program(self, host, *command, restarts):
        log = self.folder / f"{host}.log"
        self.programs[host] = Program(self.network, host, tuple(map(str, command)), log, restarts, self._events)

    def _configuration(self, node):
        lease = f'lease = "{self._lease}"\n' if self._lease else ""
        certificates = "".join(f'{key} = "{self.folder / "certs" / name}"\n'
                               for key, name in (("certificate", f"{node}.pem"), ("key", f"{node}-key.pem"), ("ca", "ca.pem")))
        return (
            f'[node]\nsocket = "{self.socket(node)}"\n'
            f'[log]\nfilter = "{self._level}"\n'
            f'[database]\nurl = "ws://{address(STORE)}:{DATABASE}"\nusername = "root"\npassword = "root"\n'
            f'[service]\nlisten = "{address(node)}:{API}"\n'
            f'[cluster]\nnode = "{node}"\nlisten = "{address(node)}:{LINKS}"\n{certificates}{lease}'
            f"{PLUGINS}"
        )

    def socket(self, node):
        return self.folder / f"{node}.sock"

    def ask(self, node, request, timeout=5):
        """Asks a node on its local socket. None if it does not answer."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(timeout)
                connection.connect(str(self.socket(node)))
                connection.sendall(json.dumps(request).encode() + b"\n")
                with connection.makefile("rb") as answer:
                    return json.loads(answer.readline())
        except (OSError, ValueError):
            return None

    def report(self, node, timeout=2):
        """How a node sees the cluster."""
        answer = self.ask(node, {"ask": "cluster"}, timeout)
        return answer["cluster"]["nodes"] if answer and answer.get("answer") == "cluster" else None

    def meetings(self, node):
        """The meetings that a node runs."""
        answer = self.ask(node, {"ask": "status"})
        if answer is None or answer.get("answer") != "status":
            return None
        return {meeting["id"].rpartition("/")[2] for meeting in answer["status"]["meetings"]}

    def _is_joined(self, node):
        nodes = self.report(node) or ()
        held = [other for other in nodes if other["lease"] == "held"]
        links = [other for other in held if other["link"] and other["link"]["is_up"]]
        return len(held) == len(NODES) and len(links) == len(NODES) - 1

    def leftovers(self, seconds):
        """What is there that should not be once all meetings have ended: leases of runs that are over, meetings that still run."""
        by = time.monotonic() + seconds
        while True:
            found = []
            for node in NODES:
                nodes = self.report(node)
                if nodes is None:
                    found.append(f"{node} does not answer")
                    continue
                found += [f"{node} sees {other['incarnation']}: lease {other['lease']}, {other['meetings']} meetings"
                          for other in nodes if other["lease"] != "held" or other["meetings"]]
                running = self.meetings(node)
                if running:
                    found.append(f"{node} runs {sorted(running)[:5]}")
            if not found or time.monotonic() > by:
                return found
            time.sleep(0.5)

    def await_node(self, node, seconds=60):
        self._await(seconds, node, lambda: self.ask(node, {"ask": "status"}, 2) is not None)

    def await_whole(self, seconds=60):
        self._await(seconds, "the nodes' links", lambda: all(self._is_joined(node) for node in NODES))

    def await_store(self):
        probe = f"import socket; socket.create_connection(({address(STORE)!r}, {DATABASE}), 2)"
        command = self.network.inside(CLIENTS, "python3", "-c", probe)
        self._await(60, "the store", lambda: subprocess.run(command, capture_output=True).returncode == 0)

    def _await(self, seconds, what, is_there):
        by = time.monotonic() + seconds
        while not is_there():
            if time.monotonic() > by:
                raise Failed(f"{what} did not come within {seconds} s")
            time.sleep(0.1)
