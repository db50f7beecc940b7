"""Rotation with a moved clock: the bundle always comes before the leaf."""

from datetime import UTC, datetime, timedelta

from grovekeeper.runtime import certificates

HOSTS = ["grovekeeper-webhook.gk.svc"]
START = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_fresh_pair_serves_and_nothing_is_done_until_it_ages() -> None:
    state = certificates.step(None, HOSTS, START)
    assert certificates.usable(state, HOSTS, START)
    assert certificates.step(state, HOSTS, START + timedelta(days=30)) is state


def test_the_leaf_is_renewed_before_it_ends_under_the_same_authority() -> None:
    state = certificates.fresh(HOSTS, START)
    later = certificates.step(state, HOSTS, START + timedelta(days=61))
    assert later.authority == state.authority
    assert later.leaf != state.leaf


def test_a_new_authority_is_published_beside_the_old_before_its_leaf_serves() -> None:
    state = certificates.fresh(HOSTS, START)
    for day in range(60, 281, 10):
        state = certificates.step(state, HOSTS, START + timedelta(days=day))
    assert state.next_authority is not None
    assert certificates.bundle(state).count(b"BEGIN CERTIFICATE") == 2
    published = state.next_published
    assert published is not None
    assert certificates.step(state, HOSTS, published + timedelta(seconds=30)) is state
    after = certificates.step(state, HOSTS, published + timedelta(seconds=120))
    assert after.authority == state.next_authority
    assert certificates.usable(after, HOSTS, published + timedelta(seconds=120))


def test_a_pair_that_does_not_belong_together_or_is_over_is_not_used() -> None:
    one, other = certificates.fresh(HOSTS, START), certificates.fresh(HOSTS, START)
    assert "belong together" in str(certificates.mismatch(one.leaf.certificate, other.leaf.key))
    assert "not PEM" in str(certificates.mismatch(b"", one.leaf.key))
    assert "ended" in str(certificates.out_of_date(one.leaf.certificate, START + timedelta(days=100)))
    assert "begins only at" in str(certificates.out_of_date(one.leaf.certificate, START - timedelta(days=2)))
    assert certificates.mismatch(one.leaf.certificate, one.leaf.key) is None
    assert certificates.out_of_date(one.leaf.certificate, START) is None
    assert certificates.step(one, ["other.host"], START) is not one
