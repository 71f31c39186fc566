"""What goes wrong when: a plan made from a seed, which is all that it depends on."""

import random
from dataclasses import dataclass

WORKERS = ("worker 1", "worker 2", "worker 3")
APIS = ("api 1", "api 2")
DELIVERIES = ("delivery worker 1", "delivery worker 2")
RECEIVER = ("receiver",)
NETWORK = ("network",)

LEAD_SECONDS = 1.0
"""Before the first fault."""

GAP_SECONDS = 0.5
"""Between two faults of one target, so that each finds it as it should be."""

SECONDS_A_FAULT = 4.0
LEAST_FAULTS = 29

FINALE_SECONDS = 4.0
"""How long before the end of the plan all workers stop, so that much waits when everything is killed at once."""

GATE_SECONDS = 20.0
"""How long before that the receiver's last fault is over: its gate, closed for 30 s by that, then still is, and opens
before the claims are free again that the killed workers had."""

AWAY_SECONDS = 1.0
"""How long Redis stays away then."""

PLACING_ATTEMPTS = 1000


@dataclass(frozen=True)
class Kind:
    """A way to fail."""

    name: str
    targets: tuple[str, ...]
    seconds: tuple[float, float] = (0.0, 0.0)
    """How long it lasts, at least and at most; nothing where it is over at once."""
    weight: int = 1
    mostly_short: bool = False
    early_seconds: float = 0.0
    """How long it must be over before all workers stop at the end."""


KINDS = (
    Kind("kill", WORKERS, weight=10),
    Kind("terminate", WORKERS, weight=3),
    Kind("stop", WORKERS, (7.0, 9.0), weight=5),  # longer than the lease of a worker
    Kind("kill", APIS, weight=5),
    Kind("terminate", APIS, weight=2),
    Kind("stop", APIS, (1.0, 2.0), weight=3),
    Kind("kill", ("redis",), (0.0, 10.0), weight=5, mostly_short=True),
    Kind("stop", ("redis",), (1.0, 2.5), weight=3),
    Kind("kill", ("up",), weight=1),
    Kind("delay", NETWORK, (2.0, 6.0), weight=3),
    Kind("cut", NETWORK, weight=4),
    Kind("half-close up", NETWORK, weight=2),
    Kind("half-close down", NETWORK, weight=2),
    Kind("freeze", NETWORK, (1.0, 5.0), weight=3),
    Kind("lose both ways", NETWORK, (1.0, 5.0), weight=2),
    Kind("lose answers", NETWORK, (0.5, 3.0), weight=3),
    Kind("refuse", NETWORK, (1.0, 5.0), weight=2),
    Kind("kill", DELIVERIES, weight=4),
    Kind("terminate", DELIVERIES, weight=2),
    Kind("stop", DELIVERIES, (21.0, 23.0), weight=1),  # longer than the lease of a callback
    Kind("stop", DELIVERIES, (1.0, 4.0), weight=2),
    Kind("away", RECEIVER, (2.0, 8.0), weight=2, early_seconds=GATE_SECONDS),
    # longer than an attempt may take, or shorter
    Kind("freeze", RECEIVER, (3.0, 12.0), weight=1, early_seconds=GATE_SECONDS),
)


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, by seconds since the begin of the plan."""

    at_seconds: float
    kind: str
    target: str
    seconds: float
    delay_seconds: tuple[float, float] = (0.0, 0.0)

    @property
    def until_seconds(self) -> float:
        """When it is over."""
        return self.at_seconds + self.seconds

    @property
    def label(self) -> str:
        """What reports call it."""
        return f"{self.kind} {self.target.rstrip(' 0123456789')}"

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        slow = f" by {self.delay_seconds[0] * 1000:.0f}-{self.delay_seconds[1] * 1000:.0f} ms each way"
        return f"{self.kind} {self.target}{slow if self.kind == 'delay' else ''}{lasting}"


def plan(seed: int, *, seconds: float) -> list[Fault]:
    """The faults in their order: each kind once, the others by weight, at last everything at once."""
    rng = random.Random(seed)
    count = max(LEAST_FAULTS, round(seconds / SECONDS_A_FAULT)) - 2
    kinds = list(KINDS) + rng.choices(KINDS, [kind.weight for kind in KINDS], k=max(0, count - len(KINDS)))
    rng.shuffle(kinds)
    # a long one finds its place while there is much room
    kinds.sort(key=lambda kind: -kind.seconds[1])
    backlog = Fault(seconds - FINALE_SECONDS, "stop", "all workers", FINALE_SECONDS - AWAY_SECONDS)
    faults = [backlog, Fault(backlog.until_seconds, "kill", "everything", AWAY_SECONDS)]
    for kind in kinds:
        for _ in range(PLACING_ATTEMPTS):
            fault = _draw(rng, kind, seconds)
            if not any(_in_the_way(fault, other) for other in faults):
                faults.append(fault)
                break
    return sorted(faults, key=lambda fault: fault.at_seconds)


def _draw(rng: random.Random, kind: Kind, seconds: float) -> Fault:
    least, most = kind.seconds
    lasting = rng.uniform(least, most)
    if kind.mostly_short:
        lasting = min(most, least + rng.expovariate(4 / (most - least)))
    latest = seconds - FINALE_SECONDS - GAP_SECONDS - kind.early_seconds - lasting
    at = rng.uniform(LEAD_SECONDS, max(LEAD_SECONDS, latest))
    delay = (0.0, 0.0)
    if kind.name == "delay":
        middle = rng.uniform(0.05, 1.5)
        delay = (max(0.05, middle / 2), min(1.5, middle * 1.5))
    return Fault(round(at, 2), kind.name, rng.choice(kind.targets), round(lasting, 2), delay)


def _in_the_way(fault: Fault, other: Fault) -> bool:
    # several faults of the network may be on at once, but each kind only once
    if _what(fault) != _what(other):
        return False
    return fault.at_seconds < other.until_seconds + GAP_SECONDS and other.at_seconds < fault.until_seconds + GAP_SECONDS


def _what(fault: Fault) -> str:
    return fault.kind if fault.target == "network" else fault.target
