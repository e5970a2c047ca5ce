from __future__ import annotations

from teammy._host.watch import ClassWatch


class Owner:
    names: list = []
    table: dict = {"a": {"b": 1}}
    count = 0
    nothing = None
    unchanged = {"x": [1]}

    def method(self): ...


def test_it_tells_once_what_changes():
    told: list[str] = []
    watch = ClassWatch(Owner, told.append)
    for _ in range(3):
        watch.hook_ended()
    assert told == []
    Owner.names.append(1)
    Owner.table["a"]["b"] = 2
    Owner.count += 1
    Owner.nothing = object()
    Owner.new = 1
    watch.hook_ended()
    changed = sorted(line.split()[3] for line in told)
    assert changed == ["Owner.count", "Owner.names", "Owner.new", "Owner.nothing", "Owner.table"]
    Owner.names.append(2)
    watch.hook_ended()
    assert len(told) == 5


def test_it_looks_rarely_later():
    class Mine:
        count = 0

    told: list[str] = []
    watch = ClassWatch(Mine, told.append)
    for _ in range(100):
        watch.hook_ended()
    Mine.count = 1
    watch.hook_ended()
    assert told == []
    for _ in range(899):
        watch.hook_ended()
    assert len(told) == 1
