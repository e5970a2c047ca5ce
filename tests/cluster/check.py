"""Whether a run's history is right: `python3 check.py FOLDER` checks what trial.py left there.

Per meeting:

* each number of its publisher is stored once, in order and without a hole, with the packet that was sent under it,
* what was acknowledged as stored is stored, where the acknowledgement said,
* what plugins put out is what they put out of the same packets with nothing to disturb them: each output once, in order,
* its subscriber, and one that follows all meetings, saw what is stored, all of it, once and in order.
"""

import json
import sys
from itertools import pairwise
from pathlib import Path

from load import digest, packets_of


def lines(path):
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def outputs(packets):
    """Of each instance what it put out. Seqs differ between runs, so causes are not compared."""
    found = {}
    for packet in packets:
        if "producer" not in packet:
            said = {key: packet.get(key) for key in ("participant", "payload", "payload_text")}
            found.setdefault(packet["source"], []).append(said)
    return found


def check_stored(meeting, stored, log, wrong):
    seqs = [int(packet["seq"]) for packet in stored]
    wrong.extend(f"seq {later} is stored after {earlier}" for earlier, later in pairwise(seqs) if later <= earlier)
    mine = [packet for packet in stored if packet.get("producer", {}).get("id") == meeting["id"]]
    numbers = [packet["producer"]["number"] for packet in mine]
    if numbers != list(range(1, len(numbers) + 1)):
        breaks = [(earlier, later) for earlier, later in pairwise([0, *numbers]) if later != earlier + 1]
        wrong.append(f"numbers are not in order: after … comes …: {breaks[:5]}")
    packet_of = packets_of(meeting["recording"], meeting["first"])
    for packet in mine:
        sent = packet_of(packet["producer"]["number"])
        if any(packet.get(key) != sent[key] for key in ("source", "participant", "payload")):
            wrong.append(f"number {packet['producer']['number']} holds another packet")
    seq_of = {packet["producer"]["number"]: str(packet["seq"]) for packet in mine}
    for ack in (line for line in log if line["what"] == "ack"):
        if ack["durable"] and seq_of.get(ack["number"]) != ack["seq"]:
            wrong.append(f"number {ack['number']} was acknowledged with seq {ack['seq']}, stored is {seq_of.get(ack['number'])}")
    published = [line["count"] for line in log if line["what"] == "published"]
    if published != [len(numbers)]:
        wrong.append(f"published are {published}, stored {len(numbers)}")


def check_seen(stored, log, wrong):
    """`log` is of a subscriber to this meeting."""
    saw = [(line["seq"], line["digest"]) for line in log if line["what"] == "packet"]
    there = [(str(packet["seq"]), packet["digest"]) for packet in stored]
    if saw != there:
        first = next((at for at, (one, other) in enumerate(zip(saw, there)) if one != other), min(len(saw), len(there)))
        wrong.append(f"a subscriber saw {len(saw)} of {len(there)}; at {first} it saw {saw[first:first + 3]}, "
                     f"stored is {there[first:first + 3]}")
    wrong.extend(f"a subscriber was told of a {line['what']}" for line in log if line["what"] in ("gap", "reset", "mismatch"))
    if not any(line["what"] == "end" for line in log):
        wrong.append("a subscriber saw no end")


def check(folder):
    """What is wrong, by meeting."""
    folder = Path(folder)
    found = {}
    backend = {}
    for line in lines(folder / "backend-all.jsonl"):
        # Of packets the log has the meeting, of other events the text that came.
        meeting = line.get("meeting") or (json.loads(line["data"]).get("meeting") if line.get("data") else None)
        backend.setdefault(meeting, []).append(line)
    for meeting in json.loads((folder / "meetings.json").read_text()):
        wrong = found[meeting["id"]] = []
        publisher = lines(folder / f"publisher-{meeting['id']}.jsonl")
        subscriber = lines(folder / f"subscriber-{meeting['id']}.jsonl")
        stored = lines(folder / f"stored-{meeting['id']}.jsonl")
        expected = lines(folder / f"expected-{meeting['id']}.jsonl")
        wrong.extend(f"a client broke: {line['error']}" for line in publisher + subscriber if line["what"] == "broken")
        check_stored(meeting, stored, publisher, wrong)
        check_seen(stored, subscriber, wrong)
        check_seen(stored, backend.get(meeting["id"], []), wrong)
        came, should = outputs(stored), outputs(expected)
        for source in sorted(came.keys() | should.keys()):
            if came.get(source) != should.get(source):
                one, other = came.get(source, []), should.get(source, [])
                at = next((at for at, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
                wrong.append(f"{source} put out {len(one)}, expected are {len(other)}; at {at}: {one[at:at + 1]}, "
                             f"expected {other[at:at + 1]}")
        if not expected or not stored:
            wrong.append(f"stored are {len(stored)}, expected {len(expected)}: the run did not come to its end")
    return {meeting: wrong for meeting, wrong in found.items() if wrong}


def count_published(folder, meetings):
    """How many packets each publisher has published: as many are played for the expected outputs."""
    for meeting in meetings:
        log = lines(Path(folder) / f"publisher-{meeting['id']}.jsonl")
        meeting["count"] = max((line["count"] for line in log if line["what"] == "published"), default=0)
    return meetings


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(part * len(values)))] if values else None


def spread(values):
    if not values:
        return None
    return {"n": len(values), "p50": round(percentile(values, 0.5), 2), "p99": round(percentile(values, 0.99), 2),
            "max": round(max(values), 2)}


def figures(folder, meetings, fault, until, affected):
    """How long publishers waited from the fault on, for packets that were due by `until`: per meeting the longest wait for one
    packet, and when the first packet was acknowledged that was sent after the fault."""
    waits, waits_affected, again, before, failed, failures, resumes = [], [], [], [], 0, {}, 0
    for meeting in meetings:
        log = lines(Path(folder) / f"publisher-{meeting['id']}.jsonl")
        acks = [line for line in log if line["what"] == "ack"]
        before += [ack["at"] - ack["began"] for ack in acks if ack["at"] < fault]
        after = [ack for ack in acks if ack["at"] > fault and ack["began"] < until]
        longest = max((ack["at"] - ack["began"] for ack in after), default=0.0)
        failed += sum(ack["at"] - ack["began"] > 10 for ack in acks)
        waits.append(longest)
        if meeting["id"] in affected:
            waits_affected.append(longest)
            first = next((ack["at"] - fault for ack in after if ack.get("sent", ack["began"]) > fault), None)
            if first is not None:
                again.append(first)
        resumes += sum(line["what"] in ("gap", "resumed") for line in log)
        for line in log:
            if line["what"] == "failure":
                key = f"{line['of']}: {line['error'][:100]}"
                failures[key] = failures.get(key, 0) + 1
    return {"undisturbed": spread(before), "pause": spread(waits), "pause of affected": spread(waits_affected),
            "again after": spread(again), "waits over 10 s": failed, "resumes": resumes,
            "failures": dict(sorted(failures.items(), key=lambda item: -item[1])[:8])}


if __name__ == "__main__":
    result = check(sys.argv[1])
    for name, complaints in result.items():
        for complaint in complaints:
            print(f"{name}: {complaint}")
    print("right" if not result else f"wrong in {len(result)} meetings")
    sys.exit(bool(result))
