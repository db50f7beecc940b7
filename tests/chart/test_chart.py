"""The chart and the built-in registration say the same."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from grovekeeper.embedded import registration
from grovekeeper.runtime import settings
from grovekeeper.webhooks.server import BODY_SECONDS
from tests.chart import helm

pytestmark = pytest.mark.real
"""helm comes with the control plane's binaries."""


@pytest.fixture(scope="module")
def rendered() -> list[dict[str, Any]]:
    return helm.template()


def settings_of(objects: list[dict[str, Any]], folder: Path) -> settings.Settings:
    """Return the settings as the components read them."""
    config = next(obj for obj in objects if obj["kind"] == "ConfigMap")
    (folder / "settings.yaml").write_text(config["data"]["settings.yaml"])
    return settings.load(folder / "settings.yaml", {})


def pods_of(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the pod template of each Deployment by its name."""
    return {o["metadata"]["name"]: o["spec"]["template"] for o in objects if o["kind"] == "Deployment"}


@pytest.mark.parametrize("ours", [registration.mutating(), registration.validating()], ids=lambda obj: str(obj["kind"]))
def test_webhook_configurations_are_the_same(rendered: list[dict[str, Any]], ours: dict[str, Any]) -> None:
    theirs = next(obj for obj in rendered if obj["kind"] == ours["kind"])
    assert theirs["webhooks"] == ours["webhooks"]


def test_the_chart_brings_everything_a_cluster_needs(rendered: list[dict[str, Any]]) -> None:
    kinds = {obj["kind"] for obj in rendered}
    assert kinds >= {
        "Deployment",
        "Service",
        "ConfigMap",
        "ServiceAccount",
        "ClusterRole",
        "Role",
        "PodDisruptionBudget",
    }
    names = {obj["metadata"]["name"] for obj in rendered if obj["kind"] == "Deployment"}
    assert names == {f"grovekeeper-{part}" for part in ("webhook", "dispatcher", "worker", "redis")}


def test_nobody_is_given_everything(rendered: list[dict[str, Any]]) -> None:
    rules = [rule for obj in rendered if obj["kind"] in ("ClusterRole", "Role") for rule in obj["rules"]]
    assert not [rule for rule in rules if "*" in rule["verbs"] + rule["resources"] + rule["apiGroups"]]


def test_in_cert_managers_mode_everything_names_one_certificate(tmp_path: Path) -> None:
    found = helm.template('webhook={"certMode": "files", "certManager": {"issuerRef": {"name": "ca"}}}')
    certificate = next(obj for obj in found if obj["kind"] == "Certificate")
    where = f"{registration.NAMESPACE}/{certificate['metadata']['name']}"
    for obj in found:
        if obj["kind"].endswith("WebhookConfiguration"):
            assert obj["metadata"]["annotations"] == {"cert-manager.io/inject-ca-from": where}
            assert not [hook for hook in obj["webhooks"] if "caBundle" in hook["clientConfig"]]
    assert f"grovekeeper-webhook.{registration.NAMESPACE}.svc" in certificate["spec"]["dnsNames"]
    webhook = next(
        obj for obj in found if obj["metadata"]["name"] == "grovekeeper-webhook" and obj["kind"] == "Deployment"
    )
    spec = webhook["spec"]["template"]["spec"]
    volume = next(entry for entry in spec["volumes"] if "secret" in entry)
    assert volume["secret"]["secretName"] == certificate["spec"]["secretName"]
    mount = next(entry for entry in spec["containers"][0]["volumeMounts"] if entry["name"] == volume["name"])
    assert "subPath" not in mount  # the kubelet would never renew it
    loaded = settings_of(found, tmp_path).webhook
    assert (loaded.cert_mode, str(loaded.cert_dir)) == ("files", mount["mountPath"])


def test_a_pod_may_end_only_after_it_has_drained(rendered: list[dict[str, Any]]) -> None:
    defaults = settings.Webhook()
    for obj in rendered:
        if obj["metadata"]["name"] == "grovekeeper-webhook" and obj["kind"] == "Deployment":
            grace = obj["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            assert grace > defaults.shutdown_delay + BODY_SECONDS + 5


@pytest.mark.parametrize("on", [True, False])
def test_domains_may_be_made_only_where_the_feature_is_on_and_let_go_everywhere(on: bool) -> None:
    objects = helm.template(f"autoMnnvl={str(on).lower()}")
    role = next(obj for obj in objects if obj["kind"] == "ClusterRole")
    verbs = {resource: rule["verbs"] for rule in role["rules"] for resource in rule["resources"]}
    assert {"list", "watch", "patch", "delete"} <= {*verbs["computedomains"]}
    assert ("create" in verbs["computedomains"]) is on
    assert verbs["resourceclaimtemplates"] == ["list", "watch"]
    config = next(obj for obj in objects if obj["kind"] == "ConfigMap" and "settings.yaml" in obj["data"])
    assert f"auto_mnnvl: {str(on).lower()}" in config["data"]["settings.yaml"]


def rules_of(*profiles: str) -> set[tuple[str, str]]:
    """Return (group, resource) of every rule that the ClusterRole has with these back ends enabled."""
    everything = helm.template(f"schedulers.profiles={json.dumps(profiles)}")
    found = [obj for obj in everything if obj["kind"] == "ClusterRole"]
    return {(g, r) for obj in found for rule in obj["rules"] for g in rule["apiGroups"] for r in rule["resources"]}


@pytest.mark.parametrize(
    ("profile", "want"),
    [
        (
            "kai-scheduler",
            {
                ("scheduling.run.ai", "podgroups"),
                ("scheduling.run.ai", "queues"),
                ("kai.scheduler", "topologies"),
                ("grove.io", "clustertopologybindings/finalizers"),
                ("scheduler.grove.io", "podgangs/finalizers"),
            },
        ),
        (
            "volcano",
            {
                ("scheduling.volcano.sh", "podgroups"),
                ("scheduling.volcano.sh", "queues"),
                ("scheduler.grove.io", "podgangs/finalizers"),
            },
        ),
        ("podgroup", {("scheduling.k8s.io", "podgroups"), ("scheduler.grove.io", "podgangs/finalizers")}),
    ],
)
def test_a_back_end_brings_its_own_rights_and_no_others(profile: str, want: set[tuple[str, str]]) -> None:
    assert rules_of("default-scheduler", profile) - rules_of("default-scheduler") == want


def test_helm_finds_nothing_to_say_of_the_chart() -> None:
    done = helm.run("lint", "--strict", str(helm.CHART))
    assert (done.returncode, "WARNING" in done.stdout) == (0, False), done.stdout


@pytest.mark.parametrize(
    "value",
    [
        pytest.param('image={"repo": "x"}', id="image"),
        pytest.param('image={"digest": "sha256:12"}', id="a digest that is none"),
        pytest.param('webhook={"replica": 3}', id="webhook"),
        pytest.param('webhook={"failurePolicy": "Ignore"}', id="failing open"),
        pytest.param('worker={"resources": {"limit": {}}}', id="resources"),
        pytest.param('worker={"replicas": 0}', id="no workers"),
        pytest.param('redis={"uri": "redis://r:6379"}', id="redis"),
        pytest.param('redis={"url": "r:6379"}', id="a Redis URL that is none"),
        pytest.param('webhook={"certManager": {"issuer": {}}}', id="issuer"),
        pytest.param('disruptionBudget={"enabled": false}', id="top level"),
        pytest.param('settings={"bogus": 1}', id="a setting"),
        pytest.param('settings={"reconcile": {"bogus": 1}}', id="a setting of a part"),
        pytest.param('settings={"reconcile": {"batch": "many"}}', id="a setting of another type"),
        pytest.param('imagePullSecrets=["name"]', id="pull secrets of another shape"),
    ],
)
def test_a_value_that_would_do_nothing_is_refused(value: str) -> None:
    done = helm.tried(value)
    assert done.returncode != 0
    path = value.partition("=")[0]
    assert f"at '/{path}" in done.stderr or f"'{path}'" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('webhook={"certManager": {"issuerRef": {"name": "ca"}}}', "needs webhook.certMode: files"),
        ('redis={"passwordSecret": {"name": "p"}}', "set redis.url, too"),
        ('schedulers={"default": "volcano"}', "not among schedulers.profiles (default-scheduler): add it there"),
        ('schedulers={"profiles": ["volcano"], "default": "podgroup"}', "(volcano, default-scheduler): add it there"),
        ("metricsPort=9443", "webhook.port and metricsPort are both 9443: give one of them another port"),
        ('podLabels={"app.kubernetes.io/name": "mine"}', "app.kubernetes.io/name is the chart's own"),
        ('settings={"metrics_port": 1}', "settings.metrics_port is set by a value of its own"),
        ('settings={"schedulers": {}}', "follows, too: set schedulers instead"),
        ('settings={"webhook": {"cert_mode": "files"}}', "set webhook.certMode instead"),
        ('settings={"webhook": {"cert_dir": "/x"}}', "settings.webhook.cert_dir is a name that the chart gives"),
        ('settings={"reconcile": {"hold": "never"}}', "set hold instead"),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_the_next_step(value: str, words: str) -> None:
    done = helm.tried(value)
    assert (done.returncode != 0, words in done.stderr) == (True, True), done.stderr


def test_every_pod_goes_where_the_values_say(tmp_path: Path) -> None:
    where = {
        "priorityClassName": "high",
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "imagePullSecrets": [{"name": "registry"}],
    }
    ours = {
        "podLabels": {"team": "ml"},
        "podAnnotations": {"a": "b"},
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "p"}],
    }
    given = {**where, **ours, "image": {"repository": "r.example/g", "digest": f"sha256:{'0' * 64}"}}
    found = helm.template(*(f"{key}={json.dumps(value)}" for key, value in given.items()))
    for name, pod in pods_of(found).items():
        assert {key: pod["spec"][key] for key in where} == where, name
        if name != "grovekeeper-redis":
            assert pod["metadata"]["labels"]["team"] == "ml"
            assert pod["metadata"]["annotations"]["a"] == "b"
            assert pod["spec"]["containers"][0]["env"] == ours["extraEnv"]
            assert pod["spec"]["containers"][0]["image"] == f"r.example/g@sha256:{'0' * 64}"
    assert settings_of(found, tmp_path).init_image == f"r.example/g@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    "values",
    [
        (),
        ('disruptionBudgets={"drainPatienceSeconds": null}', 'settings={"reconcile": {"reservation_seconds": 600}}'),
        ('redis={"url": "rediss://r:6379/1", "passwordSecret": {"name": "p", "key": "k"}}',),
        ('schedulers={"profiles": ["kai-scheduler"], "default": "kai-scheduler"}', 'exemptUsers=["a: b"]'),
    ],
)
def test_the_components_can_read_the_settings_that_the_chart_writes(values: tuple[str, ...], tmp_path: Path) -> None:
    found = settings_of(helm.template(*values), tmp_path)
    assert found.namespace == registration.NAMESPACE
    if "reservation_seconds" in str(values):
        assert (found.reconcile.reservation_seconds, found.reconcile.hold) == (600, "contended")
        assert found.reconcile.drain_patience_seconds is None
    if "rediss" in str(values):
        assert (found.redis_url, str(found.redis_password_file)) == ("rediss://r:6379/1", "/etc/grovekeeper-redis/k")
    if "kai" in str(values):
        assert "a: b" in found.exempt_users
        assert found.schedulers.default == "kai-scheduler"


def test_the_schema_of_settings_is_that_of_the_components_and_what_the_chart_sets_is_nobody_elses() -> None:
    model = settings.Settings.model_json_schema()
    ours = json.loads((helm.CHART / "values.schema.json").read_text())["properties"]["settings"]["properties"]
    written = yaml.safe_load(next(o for o in helm.template() if o["kind"] == "ConfigMap")["data"]["settings.yaml"])
    parts = {"webhook": "Webhook", "reconcile": "Reconcile"}
    compared = {(): (ours, model["properties"], written)}
    compared |= {
        (part,): (ours[part]["properties"], model["$defs"][name]["properties"], written[part])
        for part, name in parts.items()
    }
    for path, (schema, fields, given) in compared.items():
        assert schema.keys() == fields.keys()
        for field in fields.keys() - {"webhook", "reconcile"}:
            value: Any = {}
            for key in (field, *reversed(path)):
                value = {key: value or 1}
            if schema[field]:
                assert field not in given, f"{field} would be written twice"
                assert allowed(schema[field]) == allowed(fields[field]), field
            else:
                done = helm.tried(f"settings={json.dumps(value)}")
                assert f"settings.{'.'.join((*path, field))} is " in done.stderr, field


def allowed(schema: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Return the types and the bounds of a field."""
    if "enum" in schema:
        return ["string"], {"enum": schema["enum"]}
    kinds = [each["type"] for each in schema["anyOf"]] if "anyOf" in schema else schema["type"]
    bounds = {key: value for each in schema.get("anyOf", [schema]) for key, value in each.items() if "imum" in key}
    return sorted([kinds] if isinstance(kinds, str) else kinds), bounds


def test_the_charts_own_redis_is_reached_by_us_alone_and_goes_where_another_is_named(
    rendered: list[dict[str, Any]],
) -> None:
    policy = next(obj["spec"] for obj in rendered if obj["kind"] == "NetworkPolicy")
    assert policy["podSelector"]["matchLabels"] == pods_of(rendered)["grovekeeper-redis"]["metadata"]["labels"]
    peers = [peer["podSelector"]["matchLabels"] for rule in policy["ingress"] for peer in rule["from"]]
    assert peers == [{"app.kubernetes.io/name": "grovekeeper"}]
    other = helm.template('redis={"url": "redis://r:6379"}')
    assert not [obj for obj in other if "redis" in obj["metadata"]["name"]]


def test_a_pod_monitor_comes_only_where_it_is_asked_for(rendered: list[dict[str, Any]]) -> None:
    assert "PodMonitor" not in {obj["kind"] for obj in rendered}
    found = helm.template('podMonitor={"enabled": true, "labels": {"release": "prometheus"}}')
    monitor = next(obj for obj in found if obj["kind"] == "PodMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    wanted = monitor["spec"]["selector"]["matchLabels"]
    mine = {name: pod for name, pod in pods_of(found).items() if wanted.items() <= pod["metadata"]["labels"].items()}
    assert set(mine) == {"grovekeeper-webhook", "grovekeeper-dispatcher", "grovekeeper-worker"}
    for pod in mine.values():
        assert monitor["spec"]["podMetricsEndpoints"][0]["port"] in [
            p["name"] for p in pod["spec"]["containers"][0]["ports"]
        ]
