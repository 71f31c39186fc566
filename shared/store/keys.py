"""Every Redis key and channel of ours, in one place.

| key | type | bound | written by |
|---|---|---|---|
| `riskline:{S}:tx:ID` | string, JSON record | until decided, then the result TTL | accept, decide, record |
| `riskline:{S}:undecided` | sorted set, id by acceptance time in ms | the queue limit | accept, decide |
| `riskline:{S}:waiting` | list of ids | the queue limit | accept, claim, sweep |
| `riskline:{S}:claimed:CLAIMER` | list of ids | one batch | claim, decide, sweep |
| `riskline:{S}:claimers` | sorted set, claimer by end of its lease in ms | the workers | claim, sweep |
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
        """What stands before a claimer's name in the key of what it claimed."""
        return self.prefix + "claimed:"

    def claimed(self, claimer: str) -> str:
        """What one worker has claimed and not decided yet."""
        return self.claimed_prefix + claimer

    @property
    def claimers(self) -> str:
        """The workers that may hold claims, by the end of their lease."""
        return self.prefix + "claimers"

    @property
    def feed(self) -> str:
        """All decisions in their order."""
        return self.prefix + "decisions"

    @property
    def decided_channel(self) -> str:
        """Where waiters are woken."""
        return self.prefix + "decided"
