"""The synchronous door with API keys and their rates, next to the same without."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from riskline.cli.operate.api_keys import make
from riskline.shared.access.api_keys import Scope
from riskline.shared.access.rate import Rate
from tests.bench import service
from tests.bench.results import Figures
from tests.bench.scenarios import Case, Scenario
from tests.bench.scenarios.sync import COLUMNS, loads
from tests.bench.workspace import Workspace

CONNECTIONS = (1, 32)
KEYS = 20
"""That the API knows; the one that is used is the last of them."""

OPEN, ASKED = "without keys", f"with a key, one of {KEYS}"
LIMITED = f"{ASKED}, that has a rate"

OUT_OF_REACH = Rate(quota=100_000_000, window_seconds=1)
"""So that all that is measured is the counting."""


def cases(bench: Workspace) -> list[Case]:
    """The same service, open and closed."""
    return [
        Case(OPEN, partial(_open, bench)),
        Case(ASKED, partial(_asked, bench, rate=None)),
        Case(LIMITED, partial(_asked, bench, rate=OUT_OF_REACH)),
    ]


def _open(bench: Workspace) -> Iterator[tuple[str, Figures]]:
    with service.up(bench, processes=2) as ours:
        yield from loads(bench, ours.port, all_connections=CONNECTIONS, recorded=service.recorded(ours.redis))


def _asked(bench: Workspace, *, rate: Rate | None) -> Iterator[tuple[str, Figures]]:
    made = [make(f"caller-{i}", [Scope.SCORE], now=datetime.now(UTC), expires_at=None, rate=rate) for i in range(KEYS)]
    lines = "\n".join(key.line() for _, key in made)
    with service.up(bench, processes=2, RISKLINE_API_KEYS=lines) as ours:
        key = made[-1][0]
        yield from loads(
            bench,
            ours.port,
            all_connections=CONNECTIONS,
            recorded=service.recorded(ours.redis),
            authorization=f"Bearer {key}",
        )


SCENARIO = Scenario(
    name="keys",
    title="API keys",
    note="`POST /score-transaction` by `riskline up --processes 2`, open and with keys; each request sends the header "
    "`Authorization`. A process looks a head up that it has seen before, key and all, and forgets all heads when a key "
    "comes or goes. The rate is never reached: what it costs is counting, and to say in each answer what is left.",
    columns=COLUMNS,
    cases=cases,
)
