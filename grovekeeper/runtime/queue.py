"""The work queue in Redis: a key is in it at most once, and once more if it gets dirty while it is worked on.

The semantics are client-go's workqueue, in Lua, so that every operation is atomic:

    queue   sorted set, key by the time from which it may be taken (milliseconds)
    dirty   set of keys that are worked on and have been added again
    busy    sorted set, key by the deadline after which its worker counts as dead
    holder  hash, key that is worked on to the claim of who took it
    floor   hash, "key|plural" to the highest resourceVersion that made the key dirty
    fails   hash, key to its number of failures in a row

A worker renews its claims while it works, so that a key that takes long is not given to a second one. Who has lost a
claim after all (its process stood still) can neither renew it nor give the key back. All times are by the clock of
Redis: those of the workers may differ.

Nothing here is the only copy of anything: `epoch` disappears when Redis is emptied, and a resync follows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from secrets import token_hex

from redis.asyncio import Redis

LEASE_SECONDS = 20.0
"""After this long without a renewal a worker counts as dead, and its keys go to others."""
_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
_ADD = (
    _NOW
    + """
local added = 0
for i = 0, #ARGV / 4 - 1 do
  local key, due = ARGV[1 + i * 4], now + tonumber(ARGV[2 + i * 4])
  local plural, version = ARGV[3 + i * 4], tonumber(ARGV[4 + i * 4])
  if plural ~= '' then
    local field = key .. '|' .. plural
    local known = tonumber(redis.call('HGET', KEYS[4], field) or '0')
    if version > known then redis.call('HSET', KEYS[4], field, ARGV[4 + i * 4]) end
  end
  if redis.call('ZSCORE', KEYS[3], key) then
    local waiting = redis.call('HGET', KEYS[2], key)
    if not waiting or due < tonumber(waiting) then redis.call('HSET', KEYS[2], key, due) end
  else
    local score = redis.call('ZSCORE', KEYS[1], key)
    if not score or due < tonumber(score) then redis.call('ZADD', KEYS[1], due, key) end
    if not score then added = added + 1 end
  end
end
return added
"""
)
_TAKE = (
    _NOW
    + """
local limit, deadline, claim = tonumber(ARGV[1]), now + tonumber(ARGV[2]), ARGV[3]
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now)) do
  redis.call('ZREM', KEYS[3], key)
  redis.call('HDEL', KEYS[2], key)
  redis.call('HDEL', KEYS[6], key)
  redis.call('ZADD', KEYS[1], now, key)
end
local keys = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, limit)
local result = {}
for _, key in ipairs(keys) do
  redis.call('ZREM', KEYS[1], key)
  redis.call('ZADD', KEYS[3], deadline, key)
  redis.call('HSET', KEYS[6], key, claim)
  result[#result + 1] = key
  local floors = {}
  for plural in string.gmatch(ARGV[4], '[^,]+') do
    local field = key .. '|' .. plural
    local version = redis.call('HGET', KEYS[4], field)
    if version then
      floors[#floors + 1] = plural .. '=' .. version
      redis.call('HDEL', KEYS[4], field)
    end
  end
  result[#result + 1] = table.concat(floors, ',')
end
return result
"""
)
_RENEW = (
    _NOW
    + """
local deadline, claim = now + tonumber(ARGV[1]), ARGV[2]
local lost = {}
for i = 3, #ARGV do
  local key = ARGV[i]
  local holder = redis.call('HGET', KEYS[6], key)
  if holder and holder ~= claim then
    lost[#lost + 1] = key
  else
    redis.call('ZADD', KEYS[3], deadline, key)
    redis.call('HSET', KEYS[6], key, claim)
    local due = redis.call('ZSCORE', KEYS[1], key)
    if due then
      redis.call('HSET', KEYS[2], key, due)
      redis.call('ZREM', KEYS[1], key)
    end
  end
end
return lost
"""
)
_DONE = (
    _NOW
    + """
for i = 1, #ARGV, 4 do
  local key, due, failed, claim = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3]
  if redis.call('HGET', KEYS[6], key) == claim then
    redis.call('ZREM', KEYS[3], key)
    redis.call('HDEL', KEYS[6], key)
    local again = redis.call('HGET', KEYS[2], key)
    redis.call('HDEL', KEYS[2], key)
    if due >= 0 then due = now + due end
    if failed == '1' then
      local count = redis.call('HINCRBY', KEYS[5], key, 1)
      due = now + math.min(60000, 5 * 2 ^ math.min(count, 14))
    elseif failed == '0' then
      redis.call('HDEL', KEYS[5], key)
    end
    if again and (due < 0 or tonumber(again) < due) then due = tonumber(again) end
    if due >= 0 then redis.call('ZADD', KEYS[1], due, key) end
  end
end
return redis.call('ZCOUNT', KEYS[1], '-inf', now)
"""
)


@dataclass(frozen=True, slots=True)
class Item:
    """A key that was taken, with the versions that its worker's caches must have reached."""

    key: str
    floors: Mapping[str, int]
    claim: str = ""
    """Says who took it; renewing it and giving it back need this."""


@dataclass(frozen=True, slots=True)
class Addition:
    """A key to add: after `delay` seconds, made dirty by `version` of a kind."""

    key: str
    delay: float = 0.0
    plural: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a key: run again after `again` seconds (None: not by itself), or failed (backs off)."""

    key: str
    again: float | None = None
    failed: bool = False
    claim: str = ""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a queue has to be done."""

    due: float | None
    """Seconds until there is something to take (0 or less: now), None where there is nothing at all.

    That is the next key that is due, or the next one whose worker counts as dead: without the latter nobody would be
    woken to take over the keys of a worker that died with all of them.
    """
    waiting: int
    """Keys that nobody works on."""
    working: bool
    """Whether any key is worked on: its worker may add others at any time."""


class Queue:
    """One named queue. Every method raises redis.RedisError where Redis does not answer."""

    def __init__(self, redis: Redis, name: str, plurals: Iterable[str] = (), lease: float = LEASE_SECONDS) -> None:
        self._redis = redis
        self.name = name
        self._plurals = ",".join(plurals)
        self._lease = lease
        parts = ("queue", "dirty", "busy", "floor", "fails", "holder")
        self._keys = [f"grovekeeper:{{{name}}}:{part}" for part in parts]
        self._add = redis.register_script(_ADD)
        self._take = redis.register_script(_TAKE)
        self._renew = redis.register_script(_RENEW)
        self._done = redis.register_script(_DONE)

    async def add(self, additions: Iterable[Addition]) -> int:
        """Add keys in one call and return how many are new. Cost: O(keys x log size)."""
        arguments: list[str | int] = []
        for entry in additions:
            arguments += [entry.key, int(entry.delay * 1000), entry.plural, entry.version]
        if not arguments:
            return 0
        added: int = await self._add(keys=self._keys, args=arguments)
        return added

    async def take(self, limit: int) -> list[Item]:
        """Take up to `limit` keys that are due; keys of workers that died come back first."""
        claim = token_hex(8)
        arguments: list[str | int] = [limit, int(self._lease * 1000), claim, self._plurals]
        flat: list[bytes] = await self._take(keys=self._keys, args=arguments)
        return [Item(key.decode(), _floors(flat[i + 1].decode()), claim) for i, key in enumerate(flat) if i % 2 == 0]

    async def renew(self, items: Iterable[Item]) -> set[str]:
        """Keep keys that are still worked on from others; return those that others have by now.

        One that nobody has (Redis has been emptied, or the claim ran out unnoticed) is claimed again.
        """
        by_claim: dict[str, list[str]] = {}
        for item in items:
            by_claim.setdefault(item.claim, []).append(item.key)
        lost: set[str] = set()
        for claim, mine in by_claim.items():
            found = await self._renew(keys=self._keys, args=[int(self._lease * 1000), claim, *mine])
            lost |= {key.decode() for key in found}
        return lost

    async def done(self, outcomes: Iterable[Outcome]) -> int:
        """Give keys back and return how many are due now; a key that somebody else has by now is left to them."""
        arguments: list[str | int] = []
        for outcome in outcomes:
            due = -1 if outcome.again is None else int(outcome.again * 1000)
            arguments += [outcome.key, due, "1" if outcome.failed else "0", outcome.claim]
        due_now: int = await self._done(keys=self._keys, args=arguments)
        return due_now

    async def outlook(self) -> Outlook:
        """Return what there is to do, and when. One call."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zrange(self._keys[0], 0, 0, withscores=True)
            pipe.zrange(self._keys[2], 0, 0, withscores=True)
            pipe.zcard(self._keys[0])
            pipe.time()
            queued, busy, waiting, (seconds, micros) = await pipe.execute()
        first = [float(entries[0][1]) for entries in (queued, busy) if entries]
        due = min(first) / 1000 - seconds - micros / 1e6 if first else None
        return Outlook(due, waiting, working=bool(busy))


def _floors(text: str) -> dict[str, int]:
    pairs = (entry.partition("=") for entry in text.split(",") if entry)
    return {plural: int(version) for plural, _, version in pairs}
