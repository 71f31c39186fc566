"""Every Redis key and channel of Riskline.

| key | type | bound | written by |
|---|---|---|---|
| `riskline:{S}:tx:ID` | string, JSON record | until decided, then a TTL | accept, decide, record, replay, erase |
| `riskline:{S}:undecided` | sorted set, id by acceptance time in ms | the queue limit | accept, decide, replay |
| `riskline:{S}:waiting` | list of ids | the queue limit | accept, claim, leave, replay |
| `riskline:{S}:suspects` | list of ids that a worker was lost with | the lost workers' batches | claim, leave, sweep |
| `riskline:{S}:losses` | hash, workers lost by id | the suspects | decide, sweep |
| `riskline:{S}:lost` | string, the last worker that was lost with transactions | a minute | sweep |
| `riskline:{S}:claimed:WORKER` | list of ids | one batch | claim, decide, leave, sweep |
| `riskline:{S}:workers` | sorted set, worker by end of its lease in ms | the workers | claim, leave, sweep |
| `riskline:{S}:sweeper` | string, the worker that swept last, and when | a day | sweep |
| `riskline:{S}:processes` | hash, what each process serves, until when | 10 s after the last sign of life | announce |
| `riskline:{S}:rate:NAME` | string, level of an API key's account, and when | until it is empty | spend |
| `riskline:{S}:failed` | sorted set, id by time of failure in s | the failed TTL | decide, replay, erase |
| `riskline:{S}:totals` | hash, what was ever accepted, decided, … | twelve fields | most of them |
| `riskline:{S}:decided_by` | hash, decisions by version and action, or probability | 20 versions and `older` | tally |
| `riskline:{S}:paces` | hash, how long the workers' batches took by size | ten fields | pace |
| `riskline:{S}:measured` | hash, what the workers have measured, by bucket | 200 fields | workers |
| `riskline:{S}:decisions` | stream | the feed length | decide, record, erase |
| `riskline:{S}:decisions_erased` | sorted set, id of an erased entry by its time in ms | the feed length | erase |
| `riskline:{S}:callback:ID` | hash, its attempts | until it is over, a TTL | decide, take, finish, resend, erase |
| `riskline:{S}:callbacks` | sorted set, id by time of the event in ms | pending ones | decide, finish, resend, erase |
| `riskline:{S}:callbacks_dead` | sorted set, id by time in ms | the failed TTL | decide, finish, resend, erase |
| `riskline:{S}:callback_host:HOST` | sorted set, id by due time in ms | pending | decide, take, finish, resend, erase |
| `riskline:{S}:callback_hosts` | sorted set, host by due time in ms | pending ones | decide, take, finish, resend |
| `riskline:{S}:callback_gates` | hash, host: failures in a row, closed until | pending ones | take, finish |
| `riskline:{S}:callback_taken` | string, when callbacks were last taken, in ms | a day | take |
| `riskline:{S}:callback_wake` | list, wakes a delivery worker | one element | decide, resend, delivery worker |
| `riskline:{S}:history` | stream, what was ever counted, at each full minute | 180 entries | the API |
| `riskline:{S}:history_week` | stream, the same at each quarter of an hour of the last week | 673 entries | the API |
| `riskline:{S}:console_session:HASH` | string, JSON: who is signed in | half an hour without use | the console |
| `riskline:{S}:console_link:HASH` | string | once, 15 minutes | `up`, the console |
| `riskline:{S}:console_changes` | stream, what was changed by whom | 10,000 entries | the console, commands |
| `riskline:{S}:console_looks` | stream, who looked, exported, erased | 10,000 entries | the console, the API |
| `riskline:{S}:decided` | channel, JSON: ids, or records by id | - | decide |
| `riskline:{S}:shards` | string, how many shards the store has | one | the first process |
| `riskline:{S}:identity` | hash, which store it is, and what it lost | five fields | the API, `doctor --accept-loss` |
| `riskline:{S}:replicated` | string, written last where replicas are waited for | one | the API |
| `riskline:{S}:never` | never there, and named by each script | none | nobody |
| `riskline:{hXXX}:entity:PRINT:HASH` | string, packed state and events | 10 kB, `keep` | observe, compact |
| `riskline:{0}:history_marks` | hash, first event and backfill by PRINT | six fields an entity | the API, commands |

ID is the transaction's, NAME an API key's, HOST a receiving host; S is the shard's tag, in braces so that a Redis
Cluster keeps all keys of a shard together. PRINT is a fingerprint of what is kept of an entity (its fields, windows and
so on), HASH the keyed hash of its value; of several fields together, their hashes joined by `:`. XXX is the first three
digits of the first hash: 4,096 tags, each in a slot of its own, so that a cluster moves them a few keys at a time.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Keys:
    """The keys of one shard, by its tag."""

    shard: str = "0"
    prefix: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", f"riskline:{{{self.shard}}}:")

    @property
    def transaction_prefix(self) -> str:
        """The key of a record without the transaction's id."""
        return self.prefix + "tx:"

    def transaction(self, transaction_id: str) -> str:
        """The key of a transaction's record."""
        return self.transaction_prefix + transaction_id

    @property
    def undecided(self) -> str:
        """All accepted transactions that have no decision."""
        return self.prefix + "undecided"

    @property
    def waiting(self) -> str:
        """The undecided transactions that no worker has claimed, oldest first."""
        return self.prefix + "waiting"

    @property
    def claimed_prefix(self) -> str:
        """The key of a worker's claim without its name."""
        return self.prefix + "claimed:"

    def claimed(self, worker: str) -> str:
        """The claimed, undecided transactions of one worker."""
        return self.claimed_prefix + worker

    @property
    def suspects(self) -> str:
        """The undecided transactions that a worker was lost with; they are tried alone."""
        return self.prefix + "suspects"

    @property
    def losses(self) -> str:
        """The number of workers lost with each suspect."""
        return self.prefix + "losses"

    @property
    def lost(self) -> str:
        """Exists for a minute after a worker was lost: its cause may be in other batches, too."""
        return self.prefix + "lost"

    @property
    def workers(self) -> str:
        """The live workers, by the end of their lease."""
        return self.prefix + "workers"

    @property
    def sweeper(self) -> str:
        """The worker that swept last, and the time in ms."""
        return self.prefix + "sweeper"

    @property
    def processes(self) -> str:
        """The status of each live process, with its model version."""
        return self.prefix + "processes"

    def rate(self, name: str) -> str:
        """The part of its rate that the API key of this name has used."""
        return f"{self.prefix}rate:{name}"

    @property
    def failed(self) -> str:
        """The failed transactions, by time of failure."""
        return self.prefix + "failed"

    @property
    def totals(self) -> str:
        """Totals of transactions accepted, decided and so on."""
        return self.prefix + "totals"

    @property
    def decided_by(self) -> str:
        """The workers' decisions, counted by model version and action, or bucket of the probability."""
        return self.prefix + "decided_by"

    @property
    def paces(self) -> str:
        """The duration of the workers' batches, by size class."""
        return self.prefix + "paces"

    @property
    def measured(self) -> str:
        """The workers' histograms: batches, times and attempts."""
        return self.prefix + "measured"

    @property
    def feed(self) -> str:
        """All decisions in their order."""
        return self.prefix + "decisions"

    @property
    def feed_gaps(self) -> str:
        """The erased entries of the feed."""
        return self.prefix + "decisions_erased"

    @property
    def callback_prefix(self) -> str:
        """The key of a callback without the transaction's id."""
        return self.prefix + "callback:"

    def callback(self, transaction_id: str) -> str:
        """The key of a transaction's callback."""
        return self.callback_prefix + transaction_id

    @property
    def callbacks(self) -> str:
        """The pending callbacks."""
        return self.prefix + "callbacks"

    @property
    def callbacks_dead(self) -> str:
        """The dead callbacks, by the time they were given up."""
        return self.prefix + "callbacks_dead"

    @property
    def callback_host_prefix(self) -> str:
        """The key of a host's pending callbacks without the host."""
        return self.prefix + "callback_host:"

    @property
    def callback_hosts(self) -> str:
        """The hosts with pending callbacks, by the time the next one is due."""
        return self.prefix + "callback_hosts"

    @property
    def callback_gates(self) -> str:
        """The hosts whose last attempts failed."""
        return self.prefix + "callback_gates"

    @property
    def callback_taken(self) -> str:
        """The time a delivery worker last took callbacks."""
        return self.prefix + "callback_taken"

    @property
    def callback_wake(self) -> str:
        """The list on which a delivery worker waits for a callback that is due at once."""
        return self.prefix + "callback_wake"

    @property
    def history(self) -> str:
        """The totals at each full minute."""
        return self.prefix + "history"

    @property
    def history_week(self) -> str:
        """The totals at each quarter of an hour of the last week."""
        return self.prefix + "history_week"

    def console_session(self, digest: str) -> str:
        """The console session whose token has this hash."""
        return f"{self.prefix}console_session:{digest}"

    def console_link(self, digest: str) -> str:
        """The console sign-in link whose token has this hash."""
        return f"{self.prefix}console_link:{digest}"

    @property
    def console_changes(self) -> str:
        """The audit log of changes: what, by whom and when."""
        return self.prefix + "console_changes"

    @property
    def console_looks(self) -> str:
        """The audit log of console sign-ins, views and exports."""
        return self.prefix + "console_looks"

    @property
    def decided_channel(self) -> str:
        """The channel that wakes waiting requests."""
        return self.prefix + "decided"

    @property
    def shards(self) -> str:
        """The number of shards that the store was made with."""
        return self.prefix + "shards"

    @property
    def identity(self) -> str:
        """The store's identity, and its known losses."""
        return self.prefix + "identity"

    @property
    def replicated(self) -> str:
        """The mark written after a submission that waits for replicas."""
        return self.prefix + "replicated"

    @property
    def history_marks(self) -> str:
        """The first live event of each entity of a class, its backfill, and a check of the secret."""
        return self.prefix + "history_marks"

    @property
    def never(self) -> str:
        """A key that never exists; each script names it beside its own.

        While a Redis Cluster moves a slot from one node to another, its keys are on both, and a script that works with
        keys that it makes up from ids would fail in its midst, or take those on the other node for missing. With a
        missing key among several, Redis refuses the whole call before it begins, until the slot has been moved.
        """
        return self.prefix + "never"


FIRST = Keys()
"""The keys of the only shard, or of the first of several, which has the data of the store as a whole."""


def entity_key(fingerprint: str, entity: str) -> str:
    """The key of what is kept of an entity, by its fingerprint and its keyed hash."""
    return f"riskline:{{h{entity[:3]}}}:entity:{fingerprint}:{entity}"


ENTITY_PATTERN = "riskline:{h???}:entity:*"
"""The keys of all entities, as SCAN takes it."""


def parse_entity_key(key: bytes) -> tuple[str, list[str]] | None:
    """The fingerprint and the hashes of an entity's key; None of any other."""
    words = key.decode(errors="replace").split(":")
    if len(words) < ENTITY_WORDS or words[0] != "riskline" or words[2] != "entity":
        return None
    return words[3], words[4:]


ENTITY_WORDS = 5
"""The words of an entity's key, at the least."""
