"""Every Redis key and channel of ours, in one place.

| key | type | bound | written by |
|---|---|---|---|
| `riskline:{S}:tx:ID` | string, JSON record | until decided, then a TTL | accept, decide, record, replay |
| `riskline:{S}:undecided` | sorted set, id by acceptance time in ms | the queue limit | accept, decide, replay |
| `riskline:{S}:waiting` | list of ids | the queue limit | accept, claim, leave, replay |
| `riskline:{S}:suspects` | list of ids that a worker was lost with | the lost workers' batches | claim, leave, sweep |
| `riskline:{S}:losses` | hash, workers lost by id | the suspects | decide, sweep |
| `riskline:{S}:claimed:WORKER` | list of ids | one batch | claim, decide, leave, sweep |
| `riskline:{S}:workers` | sorted set, worker by end of its lease in ms | the workers | claim, leave, sweep |
| `riskline:{S}:sweeper` | string, the worker that swept last, and when | a day | sweep |
| `riskline:{S}:failed` | sorted set, id by time of failure in s | the failed TTL | decide, replay |
| `riskline:{S}:totals` | hash, what was ever accepted, decided, … | six fields | accept, decide, record, replay |
| `riskline:{S}:decisions` | stream | the feed length | decide, record |
| `riskline:{S}:decided` | channel, JSON: ids, or records by id | - | decide |

S is the shard, in braces so that a Redis Cluster keeps all keys of a shard together.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Keys:
    """The keys of one shard."""

    shard: str = "0"
    prefix: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", f"riskline:{{{self.shard}}}:")

    @property
    def transaction_prefix(self) -> str:
        """What stands before a transaction's id in the key of its record."""
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
        """The undecided ones that no worker has claimed, oldest first."""
        return self.prefix + "waiting"

    @property
    def claimed_prefix(self) -> str:
        """What stands before a worker's name in the key of what it claimed."""
        return self.prefix + "claimed:"

    def claimed(self, worker: str) -> str:
        """What one worker has claimed and not decided yet."""
        return self.claimed_prefix + worker

    @property
    def suspects(self) -> str:
        """The undecided ones that a worker was lost with, which are tried alone."""
        return self.prefix + "suspects"

    @property
    def losses(self) -> str:
        """How many workers were lost with each suspect."""
        return self.prefix + "losses"

    @property
    def workers(self) -> str:
        """The workers that show signs of life, by the end of their lease."""
        return self.prefix + "workers"

    @property
    def sweeper(self) -> str:
        """The worker that swept last, and when in ms."""
        return self.prefix + "sweeper"

    @property
    def failed(self) -> str:
        """The transactions that failed, by when they did."""
        return self.prefix + "failed"

    @property
    def totals(self) -> str:
        """How many transactions were ever accepted, decided and so on."""
        return self.prefix + "totals"

    @property
    def feed(self) -> str:
        """All decisions in their order."""
        return self.prefix + "decisions"

    @property
    def decided_channel(self) -> str:
        """Where waiters are woken."""
        return self.prefix + "decided"
