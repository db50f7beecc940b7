"""Multi-node NVLink switched off, or on without NVIDIA's driver: the other half of Grove's Auto-MNNVL suites."""

from typing import Any

import pytest

from tests.devices import nvidia
from tests.e2e.world import Object, World, refused

pytestmark = pytest.mark.slow
GROUP = "grove.io/mnnvl-group"
WORDS = [{GROUP: "x"}, {"grove.io/auto-mnnvl": "enabled"}]


def gpu_set(world: World, kind: str = "PodCliqueSet", **annotations: Any) -> Object:
    """A set of one pod that asks for a GPU."""
    clique = world.clique("a", 1)
    clique["spec"]["podSpec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "1"}}
    obj = world.set([clique])
    return {**obj, "kind": kind, "metadata": {**obj["metadata"], "annotations": annotations}}


def check_no_artifacts(world: World, *, with_kind: bool, pods: int = 1) -> None:
    """There is, and for a while there comes, no domain, no claim, and no pod that names one."""

    def none() -> bool:
        claims = world.request("GET", world.path("resourceclaims", group="/apis/resource.k8s.io/v1"))["items"]
        made = world.request("GET", f"{nvidia.DOMAINS}/computedomains")["items"] if with_kind else []
        return not claims and not made and not any("resourceClaims" in pod["spec"] for pod in world.pods())

    world.wait_pods(pods, pods, 40)
    world.stays(none, "no domain, no claim")


@pytest.mark.parametrize("kind", ["PodGangSet", "PodCliqueSet"])
def test_mnnvl9_with_the_driver_and_the_feature_off_a_group_is_refused_with_a_word(world: World, kind: str) -> None:
    world.add_nodes(2, more={"nvidia.com/gpu": "8"})
    with nvidia.installed(world.cluster):
        for words in WORDS:
            code, text = refused(lambda words=words: world.apply(gpu_set(world, kind, **words)))
            assert code == 403
            assert "multi-node NVLink is switched off" in text
            assert "autoMnnvl" in text
        world.apply(gpu_set(world, kind, **{GROUP: "none"}))
        plain = gpu_set(world, kind)
        plain["metadata"]["name"] = "plain"
        world.apply(plain)
        check_no_artifacts(world, with_kind=True, pods=2)


def test_mnnvl10_without_the_driver_and_the_feature_off_a_gpu_set_runs_as_ever(world: World) -> None:
    world.add_nodes(2, more={"nvidia.com/gpu": "8"})
    world.apply(gpu_set(world))
    check_no_artifacts(world, with_kind=False)


def test_mnnvl11_switched_on_without_the_driver_such_sets_are_refused_and_all_others_run(world: World) -> None:
    """Grove's operator ends here, and with it the gangs of everybody; ours says so in its log and at admission."""
    world.add_nodes(2, more={"nvidia.com/gpu": "8"})
    world.installation.reconfigure(GROVEKEEPER_AUTO_MNNVL="true")
    try:
        log = world.installation.components["dispatcher"].log
        world.wait(lambda: "auto_mnnvl is on, but ComputeDomains" in log.read_text(), "a word in the log")
        code, text = refused(lambda: world.apply(gpu_set(world, **{GROUP: "x"})))
        assert code == 403
        assert "install NVIDIA's DRA driver" in text
        world.apply(gpu_set(world))
        check_no_artifacts(world, with_kind=False)
    finally:
        world.installation.reconfigure(GROVEKEEPER_AUTO_MNNVL="false")
