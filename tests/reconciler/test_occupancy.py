"""What is taken, and what is about to be free."""

from datetime import timedelta

from grovekeeper.api import raw
from tests.reconciler.placing import Placing


def ending(uid: str, deleted: str) -> raw.Object:
    """A pod on a node that is being deleted; `deleted` is the time of the API server at which it should have ended."""
    metadata = {"name": uid, "namespace": "ns", "uid": uid, "deletionTimestamp": deleted}
    return {
        "metadata": {**metadata, "deletionGracePeriodSeconds": 30},
        "spec": {"nodeName": "n0", "containers": []},
        "status": {"phase": "Running"},
    }


def test_pods_that_end_are_waited_for_by_our_clock_though_the_servers_goes_otherwise() -> None:
    here = Placing(1)
    taken = here.owner.taken
    for uid, deleted in (("behind", "2001-01-01T00:00:00Z"), ("ahead", "2099-01-01T00:00:00Z")):
        taken.on_pod(None, ending(uid, deleted))
    here.clock.moment += timedelta(seconds=149)
    taken.on_pod(None, ending("behind", "2001-01-01T00:00:00Z"))
    assert set(taken.ending(120)) == {"behind", "ahead"}
    here.clock.moment += timedelta(seconds=2)
    assert not taken.ending(120)
