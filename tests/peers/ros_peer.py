"""A peer on Cyclone DDS, the DDS under rmw_cyclonedds, that talks as a ROS 2 node would.

Each command prints JSON, one object per line, and ends with status 0 only when all it was asked
for happened. Topic and service names are fully qualified ROS names.
"""

import argparse
import dataclasses
import json
import os
import sys
import time

# Before Cyclone DDS is loaded: loopback only, without multicast, found through the well-known
# ports, so that no other machine or test takes part. The environment may say otherwise.
os.environ.setdefault(
    "CYCLONEDDS_URI",
    "<CycloneDDS><Domain><General>"
    "<Interfaces><NetworkInterface address='127.0.0.1'/></Interfaces>"
    "<AllowMulticast>false</AllowMulticast></General>"
    "<Discovery><ParticipantIndex>auto</ParticipantIndex>"
    "<MaxAutoParticipantIndex>30</MaxAutoParticipantIndex>"
    "<Peers><Peer address='127.0.0.1'/></Peers></Discovery></Domain></CycloneDDS>",
)

from cyclonedds.builtin import BuiltinDataReader, BuiltinTopicDcpsParticipant  # noqa: E402
from cyclonedds.core import InstanceState, Policy, Qos  # noqa: E402
from cyclonedds.domain import DomainParticipant  # noqa: E402
from cyclonedds.pub import DataWriter  # noqa: E402
from cyclonedds.sub import DataReader  # noqa: E402
from cyclonedds.topic import Topic  # noqa: E402
from cyclonedds.util import duration  # noqa: E402

import ros_types  # noqa: E402

LOOK_S = 0.0005


def qos(args):
    durability = Policy.Durability.Volatile
    if args.durability == "transient_local":
        durability = Policy.Durability.TransientLocal
    reliability = Policy.Reliability.Reliable(duration(seconds=1))
    if args.best_effort:
        reliability = Policy.Reliability.BestEffort
    return Qos(
        reliability,
        durability,
        Policy.History.KeepLast(args.depth),
        # What ROS 2 speaks: the first version of CDR.
        Policy.DataRepresentation(use_cdrv0_representation=True, use_xcdrv2_representation=False),
    )


def report(**values):
    print(json.dumps(values, ensure_ascii=False), flush=True)


def wait(what, condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"not within {seconds} s: {what}")
        time.sleep(LOOK_S)


def wait_matched(args, *entities):
    def matched():
        return all(
            entity.get_matched_subscriptions() if isinstance(entity, DataWriter)
            else entity.get_matched_publications()
            for entity in entities
        )

    wait("match", matched, args.timeout)


def blow_up(text):
    """`repeat:x:9` becomes nine x, since an argument of a process has a limit."""
    if text.startswith("repeat:"):
        _, what, times = text.split(":")
        return what * int(times)
    return text


def valid(samples):
    return [sample for sample in samples if sample.sample_info.valid_data]


def text_of(number, size):
    """A text that is its own check: numbered, of several scripts, of a given size in octets."""
    text = f"{number}: Wo ist die Küche? 厨房在哪里？ キッチンはどこ？ Où est la cuisine ? 🤖"
    fill = "译文" * max(0, (size - len(text.encode())) // 6)
    return text + fill


def greet(args, kind, writer, reader):
    """Says hello until it comes back: only then have both sides matched both ways.

    That this side has matched does not say that the other has; what a volatile writer says in
    between is not owed to anyone.
    """
    greeting = f"hello from {os.getpid()}"
    said, heard = 0, 0
    end = time.monotonic() + args.timeout
    while said == 0 or heard == 0:
        if time.monotonic() > end:
            raise SystemExit(f"no echo within {args.timeout} s")
        writer.write(kind(data=greeting))
        said += 1
        time.sleep(0.05)
        heard += len([sample for sample in valid(reader.take(N=100)) if sample.data == greeting])
    # Late echoes of greetings must not be taken for echoes of texts.
    time.sleep(0.3)
    reader.take(N=1000)


def echo(args):
    """Says `count` texts and expects each back, unchanged and in order."""
    participant = DomainParticipant(args.domain)
    kind = ros_types.String
    writer = DataWriter(participant, Topic(participant, "rt" + args.say, kind), qos(args))
    reader = DataReader(participant, Topic(participant, "rt" + args.hear, kind), qos(args))
    wait_matched(args, writer, reader)
    greet(args, kind, writer, reader)
    report(matched=True)
    texts = [text_of(number, args.size) for number in range(args.count)]
    said, heard, times = 0, [], []
    end = time.monotonic() + args.timeout
    while len(heard) < args.count and time.monotonic() < end:
        while said < args.count and said - len(heard) < args.window:
            times.append(time.monotonic())
            writer.write(kind(data=texts[said]))
            said += 1
            if args.interval:
                time.sleep(args.interval)
        for sample in valid(reader.take(N=100)):
            if len(heard) < len(times):
                times[len(heard)] = time.monotonic() - times[len(heard)]
            heard.append(sample.data)
        time.sleep(LOOK_S / 5)
    round_trips = sorted(times[: len(heard)]) or [0]
    report(
        said=said,
        heard=len(heard),
        lost=len(set(texts) - set(heard)),
        in_order=heard == texts[: len(heard)],
        octets=len(texts[0].encode()),
        p50_ms=round(1000 * round_trips[len(round_trips) // 2], 3),
        p99_ms=round(1000 * round_trips[len(round_trips) * 99 // 100], 3),
    )
    return 0 if heard == texts else 1


class Utterances:
    """Says texts to a translator node and follows what becomes of each."""

    def __init__(self, args):
        self.args = args
        self.locales = args.locales.split(",")
        participant = DomainParticipant(args.domain)

        def reader(topic, kind):
            return DataReader(participant, Topic(participant, "rt" + topic, kind), qos(args))

        self.writer = DataWriter(
            participant, Topic(participant, "rt" + args.say, ros_types.String), qos(args)
        )
        self.translations = reader(f"{args.node}/translation", ros_types.Translation)
        self.texts = {
            locale: reader(f"{args.node}/{locale.replace('-', '_')}/text", ros_types.String)
            for locale in self.locales
        }
        wait_matched(args, self.writer, self.translations, *self.texts.values())

    def greet(self):
        """Says hello until all outputs answer; only then has everybody matched."""
        end = time.monotonic() + self.args.timeout
        number, missing = 0, {"everything"}
        while missing:
            if time.monotonic() > end:
                raise SystemExit(f"no answer from {sorted(missing)} in {self.args.timeout} s")
            number += 1
            greeting = f"hello {number} from {os.getpid()}"
            self.writer.write(ros_types.String(data=greeting))
            missing = {("translation", locale) for locale in self.locales}
            missing |= {("text", locale) for locale in self.locales}
            # Longer each time, so that a slow machine catches up with the greetings.
            patience = time.monotonic() + 0.5 * number
            while missing and time.monotonic() < patience:
                for sample in valid(self.translations.take(N=100)):
                    if sample.source_text == greeting:
                        missing.discard(("translation", sample.target_locale))
                for locale, reader in self.texts.items():
                    if valid(reader.take(N=100)):
                        missing.discard(("text", locale))
                time.sleep(LOOK_S)
        # Late answers to greetings must not be taken for answers to texts.
        time.sleep(0.2)
        for reader in (self.translations, *self.texts.values()):
            reader.take(N=1000)

    def run(self, texts, show):
        """Says the texts; gives the translations by locale, the strings, and the times taken."""
        heard = {locale: [] for locale in self.locales}
        strings = {locale: [] for locale in self.locales}
        said_at, took = [], []
        end = time.monotonic() + self.args.timeout
        while len(took) < len(texts) and time.monotonic() < end:
            while len(said_at) < len(texts) and len(said_at) - len(took) < self.args.window:
                said_at.append(time.monotonic())
                self.writer.write(ros_types.String(data=texts[len(said_at) - 1]))
            for sample in valid(self.translations.take(N=100)):
                heard.setdefault(sample.target_locale, []).append(sample)
                if show:
                    report(message=dataclasses.asdict(sample))
            while len(took) < min(len(heard[locale]) for locale in self.locales):
                took.append(time.monotonic() - said_at[len(took)])
            self.take_strings(strings)
            time.sleep(LOOK_S / 5)
        # The string of a translation is published after it.
        with_text = {locale: [t.text for t in heard[locale] if t.status <= 2] for locale in heard}
        end = min(end, time.monotonic() + 2)
        while strings != with_text and time.monotonic() < end:
            self.take_strings(strings)
            time.sleep(LOOK_S)
        return heard, strings, strings == with_text, took

    def take_strings(self, strings):
        for locale, reader in self.texts.items():
            strings[locale] += [sample.data for sample in valid(reader.take(N=100))]


def utter(args):
    """Says texts to a translator node; each must come back once for each locale, in order."""
    utterances = Utterances(args)
    utterances.greet()
    report(matched=True)
    texts = [blow_up(json.loads(text)) for text in args.text]
    texts = texts or [text_of(number, args.size) for number in range(args.count)]
    start = time.monotonic()
    heard, strings, same_strings, took = utterances.run(texts, show=bool(args.text))
    elapsed = time.monotonic() - start
    in_order = all(
        [t.source_text for t in heard[locale]] == texts
        and [t.utterance_id for t in heard[locale]]
        == list(range(heard[locale][0].utterance_id, heard[locale][0].utterance_id + len(texts)))
        for locale in heard
    )
    translations = [translation for each in heard.values() for translation in each]
    took = sorted(took) or [0]
    report(
        said=len(texts),
        heard={locale: len(each) for locale, each in heard.items()},
        lost=sum(len(set(texts) - {t.source_text for t in each}) for each in heard.values()),
        in_order=in_order,
        unchanged=sum(t.text == t.source_text for t in translations),
        statuses=sorted({t.status for t in translations}),
        details=sorted({t.detail for t in translations})[:4],
        strings={locale: len(each) for locale, each in strings.items()},
        same_strings=same_strings,
        octets=len(texts[0].encode()),
        p50_ms=round(1000 * took[len(took) // 2], 3),
        p99_ms=round(1000 * took[len(took) * 99 // 100], 3),
        per_second=round(len(texts) / elapsed, 1),
    )
    return 0 if in_order and same_strings else 1


def chatter(args):
    """Says texts at a steady pace among others who also do, and follows its own."""
    utterances = Utterances(args)
    utterances.greet()
    report(matched=True)
    texts = [f"{args.name} {number}" for number in range(args.count)]
    heard = {locale: [] for locale in utterances.locales}
    said, start = 0, time.monotonic()
    end = start + args.count * args.interval + args.timeout
    while min(len(each) for each in heard.values()) < len(texts) and time.monotonic() < end:
        if said < len(texts) and time.monotonic() >= start + said * args.interval:
            utterances.writer.write(ros_types.String(data=texts[said]))
            said += 1
        for sample in valid(utterances.translations.take(N=100)):
            if sample.source_text.startswith(args.name + " "):
                heard[sample.target_locale].append(sample)
        for reader in utterances.texts.values():
            reader.take(N=100)
        time.sleep(0.002)
    found = {locale: [t.source_text for t in each] for locale, each in heard.items()}
    report(
        said=said,
        lost=sum(len(set(texts) - set(each)) for each in found.values()),
        twice=sum(len(each) - len(set(each)) for each in found.values()),
        in_order=all(each == [t for t in texts if t in set(each)] for each in found.values()),
        statuses=sorted({t.status for each in heard.values() for t in each}),
    )
    return 0


def listen(args):
    """Prints what it hears until `count` messages came."""
    participant = DomainParticipant(args.domain)
    topic = Topic(participant, args.prefix + args.topic, ros_types.message(args.type))
    start = time.monotonic()
    reader = DataReader(participant, topic, qos(args))
    if args.announce:
        wait_matched(args, reader)
        # That we have found the writer does not say that it has found us.
        time.sleep(0.3)
        report(matched=True)
    heard = 0
    while heard < args.count:
        if time.monotonic() - start > args.timeout:
            raise SystemExit(f"heard {heard} of {args.count} on {args.topic}")
        for sample in valid(reader.take(N=100)):
            elapsed = round(1000 * (time.monotonic() - start), 1)
            report(message=dataclasses.asdict(sample), after_ms=elapsed)
            heard += 1
        time.sleep(LOOK_S)
    return 0


def say(args):
    """Publishes texts, then waits until they are acknowledged."""
    participant = DomainParticipant(args.domain)
    kind = ros_types.String
    writer = DataWriter(participant, Topic(participant, "rt" + args.topic, kind), qos(args))
    wait_matched(args, writer)
    for text in args.text:
        writer.write(kind(data=text))
    acknowledged = writer.wait_for_acks(duration(seconds=args.timeout))
    report(said=len(args.text), acknowledged=bool(acknowledged))
    # As `ros2 topic pub --once`: RustDDS 0.15.1 does not hand over what it has acknowledged once
    # the writer is gone.
    time.sleep(args.linger)
    return 0


def garbage(args):
    """Publishes what is no string under the type of strings, each between two good ones."""
    bad = [
        ("invalid utf-8", ros_types.Octets(data=list(b"\xff\xfe\xc0\x80\0"))),
        ("half a character", ros_types.Octets(data=list("译".encode()[:2] + b"\0"))),
        ("length beyond the end", ros_types.LengthOnly(length=1000)),
        ("enormous length", ros_types.LengthOnly(length=0xFFFFFFFF)),
        ("half a length", ros_types.TwoOctets(data=[5, 0])),
    ]
    name = "rt" + args.topic
    alive = []
    for number, (what, sample) in enumerate(bad):
        # One participant for each type, since a topic has one type within a participant.
        for each in (ros_types.String(data=f"good {number}"), sample):
            participant = DomainParticipant(args.domain)
            writer = DataWriter(participant, Topic(participant, name, type(each)), qos(args))
            wait_matched(args, writer)
            writer.write(each)
            writer.wait_for_acks(duration(seconds=args.timeout))
            alive += [writer, participant]
        report(sent=what)
    args.text = [f"good {len(bad)}"]
    return say(args)


def call(args):
    """Calls a service in the style of rmw_cyclonedds, once for each request."""
    body, request, response = ros_types.service(args.type)
    participant = DomainParticipant(args.domain)
    asked = Topic(participant, f"rq{args.service}Request", request)
    answered = Topic(participant, f"rr{args.service}Reply", response)
    writer = DataWriter(participant, asked, qos(args))
    reader = DataReader(participant, answered, qos(args))
    wait_matched(args, writer, reader)
    # That we have found the server does not say that it has found us.
    time.sleep(0.1)
    client = int.from_bytes(os.urandom(7), "little")
    for number, text in enumerate(args.request, start=1):
        start = time.monotonic()
        asked_for = ros_types.from_json(body, json.loads(text))
        if hasattr(asked_for, "texts"):
            asked_for.texts = [blow_up(each) for each in asked_for.texts]
        writer.write(request(client, number, asked_for))
        answer = None
        while answer is None:
            if time.monotonic() - start > args.timeout:
                raise SystemExit(f"no answer to request {number} of {args.service}")
            for sample in valid(reader.take(N=100)):
                if (sample.client, sample.number) == (client, number):
                    answer = sample
            time.sleep(LOOK_S)
        elapsed = round(1000 * (time.monotonic() - start), 3)
        report(response=dataclasses.asdict(answer.body), after_ms=elapsed)
    return 0


def serve(args):
    """Serves a Trigger in the style of rmw_cyclonedds until `count` requests are answered."""
    kind = "std_srvs/srv/Trigger"
    _, request, response = ros_types.service(kind)
    participant = DomainParticipant(args.domain)
    asked = Topic(participant, f"rq{args.service}Request", request)
    answered = Topic(participant, f"rr{args.service}Reply", response)
    reader = DataReader(participant, asked, qos(args))
    writer = DataWriter(participant, answered, qos(args))
    served = 0
    end = time.monotonic() + args.timeout
    while served < args.count:
        if time.monotonic() > end:
            raise SystemExit(f"served {served} of {args.count}")
        for sample in valid(reader.take(N=100)):
            served += 1
            body = ros_types.TriggerResponse(success=True, message=f"served {served}")
            # A stranger's reply first: a client must not take it for its own.
            writer.write(response(sample.client ^ 1, sample.number, ros_types.TriggerResponse()))
            writer.write(response(sample.client, sample.number, body))
        time.sleep(LOOK_S)
    writer.wait_for_acks(duration(seconds=args.timeout))
    time.sleep(args.linger)
    return 0


def farewell(args):
    """Waits until a participant is there, says so, and waits until it has taken leave."""
    participant = DomainParticipant(args.domain)
    reader = BuiltinDataReader(participant, BuiltinTopicDcpsParticipant)
    seen, end = None, time.monotonic() + args.timeout
    while time.monotonic() < end:
        for sample in reader.take(N=100):
            if sample.sample_info.valid_data and sample.key.bytes.hex() == args.participant:
                if seen is None:
                    report(seen=True)
                    seen = sample.sample_info.instance_handle
            if (
                seen == sample.sample_info.instance_handle
                and sample.sample_info.instance_state != InstanceState.Alive
            ):
                report(gone=True)
                return 0
        time.sleep(LOOK_S)
    raise SystemExit(f"{args.participant} {'is still there' if seen else 'was never seen'}")


def graph(args):
    """Prints the nodes of each participant until `node` is among them."""
    participant = DomainParticipant(args.domain)
    kind = ros_types.ParticipantEntities
    args.durability = "transient_local"
    reader = DataReader(participant, Topic(participant, "ros_discovery_info", kind), qos(args))
    end = time.monotonic() + args.timeout
    while time.monotonic() < end:
        for sample in valid(reader.take(N=100)):
            for node in sample.node_entities_info_seq:
                name = node.node_namespace.rstrip("/") + "/" + node.node_name
                readers, writers = len(node.reader_gid_seq), len(node.writer_gid_seq)
                gid = bytes(sample.gid).hex()
                report(node=name, readers=readers, writers=writers, participant=gid)
                if name == args.node and readers >= args.readers and writers >= args.writers:
                    return 0
        time.sleep(LOOK_S)
    raise SystemExit(f"no node {args.node} in the graph")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--domain", type=int, required=True)
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds")
    parser.add_argument("--durability", choices=["volatile", "transient_local"], default="volatile")
    parser.add_argument("--best-effort", action="store_true")
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--linger", type=float, default=0.1, help="seconds after the last text")
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("echo", help=echo.__doc__)
    command.add_argument("--say", required=True)
    command.add_argument("--hear", required=True)
    command.add_argument("--count", type=int, default=1000)
    command.add_argument("--size", type=int, default=0, help="octets of a text, at least")
    command.add_argument("--window", type=int, default=8, help="texts said and not yet heard")
    command.add_argument("--interval", type=float, default=0.0, help="seconds between texts")
    command.set_defaults(run=echo)

    command = commands.add_parser("listen", help=listen.__doc__)
    command.add_argument("--topic", required=True)
    command.add_argument("--type", default="std_msgs/msg/String")
    command.add_argument("--prefix", default="rt")
    command.add_argument("--count", type=int, default=1)
    command.add_argument("--announce", action="store_true", help="say when it has matched")
    command.set_defaults(run=listen)

    command = commands.add_parser("utter", help=utter.__doc__)
    command.add_argument("--say", default="/text")
    command.add_argument("--node", default="/translator")
    command.add_argument("--locales", default="de,zh")
    command.add_argument("--count", type=int, default=1000, help="texts, where none is given")
    command.add_argument("--size", type=int, default=0, help="octets of a text, at least")
    command.add_argument("--window", type=int, default=8, help="texts said and not yet answered")
    command.add_argument("text", nargs="*", help="JSON strings")
    command.set_defaults(run=utter)

    command = commands.add_parser("chatter", help=chatter.__doc__)
    command.add_argument("--say", default="/text")
    command.add_argument("--node", default="/translator")
    command.add_argument("--locales", default="de,zh")
    command.add_argument("--name", required=True, help="first word of its texts")
    command.add_argument("--count", type=int, default=100)
    command.add_argument("--interval", type=float, default=0.06, help="seconds between texts")
    command.set_defaults(run=chatter)

    command = commands.add_parser("say", help=say.__doc__)
    command.add_argument("--topic", required=True)
    command.add_argument("text", nargs="+")
    command.set_defaults(run=say)

    command = commands.add_parser("garbage", help=garbage.__doc__)
    command.add_argument("--topic", required=True)
    command.set_defaults(run=garbage)

    command = commands.add_parser("call", help=call.__doc__)
    command.add_argument("--service", required=True)
    command.add_argument("--type", required=True, choices=sorted(ros_types.BODIES))
    command.add_argument("request", nargs="+", help="JSON")
    command.set_defaults(run=call)

    command = commands.add_parser("serve", help=serve.__doc__)
    command.add_argument("--service", required=True)
    command.add_argument("--count", type=int, default=1)
    command.set_defaults(run=serve)

    command = commands.add_parser("farewell", help=farewell.__doc__)
    command.add_argument("--participant", required=True, help="its GUID in hexadecimal")
    command.set_defaults(run=farewell)

    command = commands.add_parser("graph", help=graph.__doc__)
    command.add_argument("--node", required=True)
    command.add_argument("--readers", type=int, default=0)
    command.add_argument("--writers", type=int, default=0)
    command.set_defaults(run=graph)

    args = parser.parse_args()
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
