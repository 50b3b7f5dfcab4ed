"""What a name given to `tanlian connectors check` stands for: feeds of the sandbox, feeds of a participant, or both. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hub.participants import Platform
from hub.sandbox.platforms.spec import Feed, Spec
from hub.sandbox.specs import STAND_INS


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A feed of a simulated platform, on which a connector is tried."""

    spec: Spec
    feed: Feed


def benches_of_platform(specs: Mapping[str, Spec], name: str) -> list[Bench]:
    """Return all feeds of a simulated platform; none if there is no such platform."""
    spec = specs.get(name)
    return [] if spec is None else [Bench(spec=spec, feed=feed) for feed in spec.feeds]


def bench_of_kind(specs: Mapping[str, Spec], kind: str) -> list[Bench]:
    """Return the first feed of the sandbox that uses a connector; none if no simulator speaks its format."""
    return next(([bench] for bench in [*every_bench(specs), *stand_ins()] if bench.feed.connector == kind), [])


def benches_of_participant(specs: Mapping[str, Spec], platform: Platform) -> list[Bench]:
    """Return where each connector of a participant is tried: on its own simulator, or on another of the same format."""
    own = benches_of_platform(specs, platform.platform_id)
    found: dict[str, Bench] = {}
    for feed in platform.feeds:
        kind = feed.document.connector
        same = [one for one in own if one.feed.connector == kind and one.feed.stream == feed.stream]
        for bench in same or bench_of_kind(specs, kind):
            found.setdefault(f"{bench.spec.id}/{bench.feed.stream}", bench)
    return list(found.values())


def stand_ins() -> Iterator[Bench]:
    """Yield the feeds of formats that no platform of the sandbox speaks at present."""
    for spec in STAND_INS:
        for feed in spec.feeds:
            yield Bench(spec=spec, feed=feed)


def every_bench(specs: Mapping[str, Spec]) -> Iterator[Bench]:
    """Yield all feeds of the sandbox."""
    for spec in specs.values():
        for feed in spec.feeds:
            yield Bench(spec=spec, feed=feed)
