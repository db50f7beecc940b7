"""What the work queues in Redis hold, for scenarios and for what is said of one that has failed."""

import time

import redis


def noted(url: str, key: str, plural: str) -> int:
    """Return the resourceVersion of this kind that a look of placement at a key waits for; 0 for none."""
    with redis.Redis.from_url(url) as client:
        return int(client.hget("grovekeeper:{placement}:floor", f"{key}|{plural}") or 0)


def due(url: str, key: str) -> float | None:
    """Return in how many seconds a key is to be reconciled; None while it is worked on or not to be."""
    with redis.Redis.from_url(url) as client:
        score: float | None = client.zscore("grovekeeper:{reconcile}:queue", key)
    return None if score is None else score / 1000 - time.time()


def picture(url: str) -> str:
    """Return what the work queues hold: key and seconds until it is due."""
    lines = []
    with redis.Redis.from_url(url) as client:
        for name in ("reconcile", "placement"):
            for part in ("queue", "busy"):
                for key, moment in client.zrange(f"grovekeeper:{{{name}}}:{part}", 0, -1, withscores=True):
                    lines.append(f"{name} {part} {key.decode()} {moment / 1000 - time.time():.1f}")
            lines += [f"{name} dirty {key.decode()}" for key in client.hkeys(f"grovekeeper:{{{name}}}:dirty")]
    return "\n".join(lines)
