"""Defaults of sets, and what the webhook makes of a gang's pod."""

import copy
import json
from typing import Any

import pytest

from grovekeeper.api import names
from tests.builders import clique, podgangset
from tests.webhooks.conftest import Post, applied
from tests.webhooks.reviews import DEFAULT, POD, VALIDATE, created_pod, review

UNTOUCHED = {"uid": "u1", "allowed": True}


async def test_a_set_gets_its_defaults_once_and_the_second_pass_has_no_patch(post: Post) -> None:
    obj = podgangset(clique("a", None))
    filled = applied(obj, await post.response(DEFAULT, review(obj)))
    assert await post.response(DEFAULT, review(filled)) == UNTOUCHED


async def test_a_pod_is_finished_once_and_the_second_pass_has_no_patch(post: Post) -> None:
    pod = created_pod()
    done = applied(pod, await post.response(POD, review(pod)))
    assert done["metadata"]["labels"][names.LABEL_PODGANG] == "demo-0"
    assert (done["spec"]["hostname"], done["spec"]["subdomain"]) == ("demo-0-b-0", "demo-0")
    assert [gate["name"] for gate in done["spec"]["schedulingGates"]] == [names.GATE]
    assert done["spec"]["initContainers"][-1]["name"] == names.INIT_GATE_CONTAINER
    assert await post.response(POD, review(done)) == UNTOUCHED


async def test_a_pod_that_another_webhook_changed_in_between_is_patched_validly(post: Post) -> None:
    pod = created_pod()
    done = applied(pod, await post.response(POD, review(pod)))
    done["spec"]["containers"].insert(0, {"name": "sidecar", "image": "x"})
    done["metadata"]["labels"]["mesh.example.com/injected"] = "true"
    again = applied(done, await post.response(POD, review(done)))
    assert [entry["name"] for entry in again["spec"]["containers"][0]["env"]][:1] == ["GROVE_PGS_NAME"]
    assert len(again["spec"]["schedulingGates"]) == 1
    assert await post.response(POD, review(again)) == UNTOUCHED


async def test_a_pod_without_labels_name_or_uid_is_patched_validly(post: Post) -> None:
    pod = created_pod()
    for field in ("labels", "name", "uid"):
        pod["metadata"].pop(field, None)
    assert pod["metadata"]["generateName"]
    done = applied(pod, await post.response(POD, review(pod, name="")))
    assert done["metadata"]["labels"][names.LABEL_PODGANG] == "demo-0"


async def test_a_dry_run_is_answered_alike(post: Post) -> None:
    pod = created_pod()
    assert await post(POD, review(pod)) == await post(POD, review(pod, dryRun=True))


@pytest.mark.parametrize("path", [POD, DEFAULT, VALIDATE])
async def test_a_delete_passes_without_a_patch(post: Post, path: str) -> None:
    assert await post.response(path, review(None, created_pod(), "DELETE")) == UNTOUCHED


@pytest.mark.parametrize(
    ("kind", "operation", "subresource"),
    [
        ("Pod", "UPDATE", "ephemeralcontainers"),
        ("Pod", "UPDATE", "resize"),
        ("Pod", "UPDATE", "status"),
        ("Pod", "UPDATE", ""),
        ("Binding", "CREATE", "binding"),
        ("Eviction", "CREATE", "eviction"),
        ("PodExecOptions", "CONNECT", "exec"),
    ],
)
async def test_updates_and_subresources_of_pods_are_left_alone(
    post: Post, kind: str, operation: str, subresource: str
) -> None:
    obj = created_pod() if kind == "Pod" else {"kind": kind}
    old = created_pod() if operation == "UPDATE" else None
    body = review(obj, old, operation, subResource=subresource)
    assert await post.response(POD, body) == UNTOUCHED


async def test_ephemeral_containers_get_no_environment(post: Post) -> None:
    pod = created_pod(ephemeralContainers=[{"name": "debug", "image": "x"}])
    done = applied(pod, await post.response(POD, review(pod)))
    assert done["spec"]["ephemeralContainers"] == [{"name": "debug", "image": "x"}]


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        pytest.param({"schedulingGates": [{"name": "other.io/gate"}]}, [names.GATE, "other.io/gate"], id="foreign"),
        pytest.param({"schedulingGates": [{"name": names.GATE}]}, [names.GATE], id="ours already"),
    ],
)
async def test_own_gates_of_the_user_stay_and_ours_is_there_once(
    post: Post, spec: dict[str, Any], want: list[str]
) -> None:
    pod = created_pod(**spec)
    done = applied(pod, await post.response(POD, review(pod)))
    assert [gate["name"] for gate in done["spec"]["schedulingGates"]] == want


async def test_a_pod_that_has_a_node_gets_no_gate(post: Post) -> None:
    pod = created_pod()
    pod["spec"]["nodeName"] = "n1"
    pod["spec"].pop("schedulingGates", None)
    done = applied(pod, await post.response(POD, review(pod)))
    assert "schedulingGates" not in done["spec"]


async def test_a_mirror_pod_is_left_alone(post: Post) -> None:
    pod = created_pod()
    pod["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "x"
    assert await post.response(POD, review(pod)) == UNTOUCHED


async def test_own_variables_hostname_and_subdomain_of_the_user_give_way(post: Post) -> None:
    """Grove does so, too: the variables name the pod, and the Services find it by its hostname."""
    env = [{"name": "MINE", "value": "$(GROVE_PCLQ_NAME)"}, {"name": "GROVE_PCLQ_NAME", "value": "not this"}]
    pod = created_pod(
        hostname="mine", subdomain="mine", hostNetwork=True, containers=[{"name": "c", "image": "i", "env": env}]
    )
    done = applied(pod, await post.response(POD, review(pod)))
    spec = done["spec"]
    assert (spec["hostname"], spec["subdomain"], spec["hostNetwork"]) == ("demo-0-b-0", "demo-0", True)
    found = [(entry["name"], entry["value"]) for entry in spec["containers"][0]["env"]]
    assert found[-1] == ("MINE", "$(GROVE_PCLQ_NAME)")
    assert [value for name, value in found if name == "GROVE_PCLQ_NAME"] == ["demo-0-b"]


async def test_init_containers_and_sidecars_get_the_variables_and_keep_their_order(post: Post) -> None:
    given = [
        {"name": "first", "image": "i"},
        {"name": "sidecar", "image": "i", "restartPolicy": "Always"},
    ]
    pod = created_pod(initContainers=given)
    done = applied(pod, await post.response(POD, review(pod)))
    init = done["spec"]["initContainers"]
    assert [entry["name"] for entry in init] == ["first", "sidecar", names.INIT_GATE_CONTAINER]
    assert all(entry["env"][0]["name"] == "GROVE_PGS_NAME" for entry in init[:2])
    assert "env" not in init[2]


async def test_keys_with_slash_and_tilde_are_escaped(post: Post) -> None:
    pod = created_pod()
    intent = json.loads(pod["metadata"]["annotations"][names.ANNOTATION_INTENT])
    intent["labels"]["example.com/a~b"] = "x"
    pod["metadata"]["annotations"][names.ANNOTATION_INTENT] = json.dumps(intent)
    done = applied(pod, await post.response(POD, review(pod)))
    assert done["metadata"]["labels"]["example.com/a~b"] == "x"


async def test_a_pod_whose_annotations_have_no_room_for_our_mark_is_refused_in_words(post: Post) -> None:
    pod = created_pod()
    pod["metadata"]["annotations"]["big"] = "é" * 131_000
    response = await post.response(POD, review(pod))
    assert not response["allowed"]
    assert "262144 are allowed" in response["status"]["message"]


INTENT = json.loads(created_pod()["metadata"]["annotations"][names.ANNOTATION_INTENT])


@pytest.mark.parametrize(
    "intent",
    [
        pytest.param("{", id="no JSON"),
        pytest.param("[]", id="a list"),
        pytest.param("{}", id="nothing"),
        *(
            pytest.param(json.dumps({**INTENT, field: wrong}), id=f"{field} {wrong!r}")
            for field in ("env", "hostname", "subdomain", "labels", "waits", "secret")
            for wrong in (5, [5], [["A"]], [["A", None]], {"a": 1}, None)
        ),
        pytest.param(json.dumps({**INTENT, "secret": ""}), id="waits without a secret"),
    ],
)
async def test_a_pod_whose_intent_cannot_be_read_does_not_get_in_ungated(post: Post, intent: str) -> None:
    """Anybody can write the annotation on a pod made by hand: that is no fault of ours."""
    pod = created_pod()
    pod["metadata"]["annotations"][names.ANNOTATION_INTENT] = intent
    response = await post.response(POD, review(pod))
    assert (response["allowed"], response["status"]["code"]) == (False, 403)
    assert "remove it from the pod" in response["status"]["message"]


async def test_a_pod_made_by_hand_with_our_labels_and_no_intent_is_left_alone(post: Post) -> None:
    """The worker deletes it where it claims to be a clique's; on its own it is a pod like any other."""
    pod = created_pod()
    del pod["metadata"]["annotations"], pod["spec"]["schedulingGates"]
    assert await post.response(POD, review(pod)) == UNTOUCHED


async def test_the_startup_gate_keeps_to_the_restricted_standard_whatever_the_pod_says(post: Post) -> None:
    pod = created_pod()
    done = applied(pod, await post.response(POD, review(pod)))
    context = done["spec"]["initContainers"][-1]["securityContext"]
    assert (context["runAsNonRoot"], context["allowPrivilegeEscalation"]) == (True, False)
    assert (context["capabilities"], context["seccompProfile"]) == ({"drop": ["ALL"]}, {"type": "RuntimeDefault"})


async def test_volumes_of_the_user_stay_and_ours_are_there_once(post: Post) -> None:
    pod = created_pod(volumes=[{"name": "models", "emptyDir": {}}])
    done = applied(pod, await post.response(POD, review(pod)))
    names_ = [volume["name"] for volume in done["spec"]["volumes"]]
    assert names_ == ["models", names.INIT_GATE_TOKEN_VOLUME, names.INIT_GATE_INFO_VOLUME]
    assert await post.response(POD, review(done)) == UNTOUCHED


async def test_the_object_that_was_sent_is_the_only_one_that_the_patch_fits(post: Post) -> None:
    """Two pods in a row, one with and one without maps: nothing of the first is left in the second's answer."""
    bare, full = created_pod(), created_pod()
    del bare["metadata"]["labels"]
    for pod in (full, bare, copy.deepcopy(full)):
        assert applied(pod, await post.response(POD, review(pod)))["spec"]["subdomain"] == "demo-0"
