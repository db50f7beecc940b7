"""What placement said no to, so that the same question is not asked again of a room that has only shrunk.

Pure: time and the state of the room come in. A `Token` stands for the room: it changes whenever something may have
made room for the asker. With W gangs that wait, of C kinds, a change of room costs C searches and not W.
"""

import json
from collections.abc import Hashable
from dataclasses import dataclass

from grovekeeper.placement import affinity, request
from grovekeeper.placement import shape as shapes

Token = tuple[int, int, int]
"""Of the room, of what could be evicted for the asker, and of the pods that its required affinity looks at."""
FRESH_SECONDS = 60.0
"""An answer is given again for so long at most: its words grow old."""
_MOST = 4096


@dataclass(frozen=True, slots=True)
class Question:
    """What a gang asks of a room, and the answer where it follows from earlier ones."""

    key: str
    ask: request.GangAsk
    token: Token
    at: float
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class _Refusal:
    ask: request.GangAsk
    kind: Hashable
    token: Token
    at: float
    text: str


class Refusals:
    """The last refusal of each gang, and of each kind of gang."""

    def __init__(self) -> None:
        self._of_gang: dict[str, _Refusal] = {}
        self._of_kind: dict[Hashable, Token] = {}

    def question(self, key: str, ask: request.GangAsk, token: Token, now: float) -> Question:
        """Return the question, answered if why the gang does not fit is known already. O(pods of the gang)."""
        known = self._of_gang.get(key)
        if known is None or now - known.at >= FRESH_SECONDS or known.ask != ask:
            return Question(key, ask, token, now)
        same = known.token == token or (known.kind is not None and self._of_kind.get(known.kind) == token)
        return Question(key, ask, token, now, known.text if same else None)

    def note(self, asked: Question, why_not: str | None) -> None:
        """Remember the answer to a question; None: it was placed.

        Not remembered is what depends on a room that is held for the gang.
        """
        pods = [pod for group in asked.ask.groups for pod in group.pods]
        if why_not is None or any(pod.nominated for pod in pods):
            self.forget(asked.key)
            return
        kind = _kind(asked.ask)
        self._of_gang[asked.key] = _Refusal(asked.ask, kind, asked.token, asked.at, why_not)
        if kind is not None:
            if len(self._of_kind) >= _MOST:
                self._of_kind.clear()
            self._of_kind[kind] = asked.token

    def forget(self, key: str) -> None:
        """Forget a gang: it has been placed, or is gone."""
        self._of_gang.pop(key, None)


def watched(ask: request.GangAsk) -> frozenset[str] | None:
    """Return the namespaces at whose pods a gang's required affinity looks; None: at those of all. O(its pods).

    A peer that comes, or one whose labels change, makes no room, and yet a gang may fit since then.
    """
    found: set[str] = set()
    for pod in (pod for group in ask.groups for pod in group.pods):
        for term in (*affinity.terms(pod.spec, "podAffinity"), *affinity.terms(pod.spec, "podAntiAffinity")):
            if term.get("namespaceSelector") is not None:
                return None
            found.update(term.get("namespaces") or (ask.namespace,))
    return frozenset(found)


def _kind(ask: request.GangAsk) -> Hashable:
    """Return what gangs have in common that fit or do not fit together; None for one that is like no other.

    A gang with pods on nodes, a base gang, or siblings to keep apart from is a case of its own; so is one that looks at
    other pods, since labels decide there.
    """
    peers = [*ask.spread_peers, *(peer for sub in ask.subgangs for peer in sub.spread_peers)]
    if ask.fixed or ask.near or peers or watched(ask) != frozenset():
        return None
    numbers = {group.name: number for number, group in enumerate(ask.groups)}
    groups = tuple(
        (len(group.pods), group.minimum, group.constraint, group.spread, tuple(_likenesses(group)))
        for group in ask.groups
    )
    subgangs = tuple(
        (tuple(numbers.get(name) for name in sub.groups), sub.constraint, sub.spread) for sub in ask.subgangs
    )
    return groups, subgangs, ask.constraint, ask.priority, ask.preempts, ask.spread, ask.closed, ask.avoid, ask.levels


def _likenesses(group: request.GroupAsk) -> list[str]:
    """Return the different shapes of a group's pods. The pods of one template share what is compared."""
    found: list[list[object]] = []
    for pod in group.pods:
        mine = shapes.likeness(pod.spec)
        if mine not in found:
            found.append(mine)
    return [json.dumps(each, sort_keys=True) for each in found]
