"""The recipes in docs/deploy: they parse, the server accepts their settings, their figures fit to it and each other.

The chart is rendered by a few lines below, which know just the forms that it uses and fail on any other.
"""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from homeserver.app.signing_key import load_or_create_signing_key
from homeserver.cli import main
from homeserver.runtime.randomness import SeededRandomness
from homeserver_config import read_settings
from homeserver_config.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
CHART = DEPLOY / "helm" / "starling"
ENVIRONMENT = {
    "STARLING_DATABASE_URL": "postgresql://starling:x@postgres/starling",
    "STARLING_REDIS_URL": "redis://redis:6379/0",
}
SECRETS = "/etc/starling/secrets"
SECRET_TEXTS = {
    "signing.key": "ed25519 a_1 " + "A" * 43,
    "database-url": ENVIRONMENT["STARLING_DATABASE_URL"],
    "redis-url": ENVIRONMENT["STARLING_REDIS_URL"],
    "s3-secret": "secret",
}
LONGEST_WAIT_S = 300  # of /sync, see client_api/sync.py


def text_of(*parts: str) -> str:
    return DEPLOY.joinpath(*parts).read_text(encoding="utf-8")


def yaml_of(*parts: str) -> Any:
    return yaml.safe_load(text_of(*parts))


def value_at(values: Any, path: str) -> Any:
    for key in path.split("."):
        values = values[key]
    return values


def rendered(template: str, values: Any) -> Any:
    """A template of the chart as YAML, with every condition met."""

    def inline(found: re.Match[str]) -> str:
        expression = found[1].strip()
        if expression == ".Release.Name":
            return "chat"
        if expression == "toYaml .Values.config | sha256sum":
            return "0" * 64
        assert expression.startswith(".Values."), expression
        return str(value_at(values, expression.removeprefix(".Values.")))

    lines: list[str] = []
    for line in template.splitlines():
        if re.fullmatch(r"\s*\{\{- (if (not )?\.Values\.[\w.]+|end) \}\}", line):
            path = re.search(r"\.Values\.([\w.]+)", line)
            assert path is None or isinstance(value_at(values, path[1]), bool)
            continue
        block = re.fullmatch(r"\s*\{\{- toYaml \.Values\.([\w.]+) \| nindent (\d+) \}\}", line)
        if block is not None:
            dumped = yaml.safe_dump(value_at(values, block[1]))
            lines.extend(" " * int(block[2]) + one for one in dumped.splitlines())
        else:
            lines.append(re.sub(r"\{\{ (.*?) \}\}", inline, line))
    return yaml.safe_load("\n".join(lines))


@pytest.fixture(scope="module")
def chart() -> dict[str, Any]:
    """The chart's objects by kind."""
    values = yaml_of("helm", "starling", "values.yaml")
    objects = [rendered(path.read_text(), values) for path in sorted((CHART / "templates").iterdir())]
    return {one["kind"]: one for one in objects}


@pytest.fixture
def chart_settings(chart: dict[str, Any], tmp_path: Path) -> Path:
    """The settings file of the chart, with the secrets in a folder of the test."""
    for name, text in SECRET_TEXTS.items():
        (tmp_path / name).write_text(text)
    file = tmp_path / "homeserver.yaml"
    file.write_text(chart["ConfigMap"]["data"]["homeserver.yaml"].replace(SECRETS, str(tmp_path)))
    return file


def check_config(file: Path) -> str:
    result = CliRunner().invoke(main, ["check-config", "-c", str(file)], env=ENVIRONMENT)
    assert result.exit_code == 0, result.output
    return result.output


def ports_of(settings: Settings) -> dict[int, bool]:
    """The listeners' ports, and whether each serves clients."""
    return {listener.port: "client" in listener.resources for listener in settings.listeners}


@pytest.mark.parametrize("name", ["compose", "systemd"])
def test_the_server_accepts_the_settings(name: str) -> None:
    file = DEPLOY / name / "homeserver.yaml"
    assert "This server is example.org" in check_config(file)
    settings = read_settings(file, ENVIRONMENT)
    assert ports_of(settings) == {8008: True, 9100: False}
    assert settings.database_url.startswith("postgresql")
    assert settings.cluster.redis_url is not None
    assert settings.listeners[0].x_forwarded


def test_the_server_accepts_the_settings_of_the_chart(chart: dict[str, Any], chart_settings: Path) -> None:
    assert "This server is example.org" in check_config(chart_settings)
    settings = read_settings(chart_settings, {})
    container = chart["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports_of(settings) == {ports["http"]: True, ports["metrics"]: False}
    assert load_or_create_signing_key(settings.signing_key_path, SeededRandomness(1)).version == "a_1"
    written = yaml_of("helm", "starling", "values.yaml")
    named = set(re.findall(rf"{SECRETS}/([\w.-]+)", str(written["config"])))
    assert named == set(SECRET_TEXTS)
    comment = re.search(r"# A Secret with the keys (.*)\.\n", text_of("helm", "starling", "values.yaml"))
    assert comment is not None
    assert set(re.split(r", | and ", comment[1])) == named


def test_the_charts_objects_fit_together(chart: dict[str, Any], chart_settings: Path) -> None:
    assert set(chart) == {
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "Ingress",
        "PodDisruptionBudget",
        "Service",
    }
    spec = chart["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    selectors = [spec["selector"], chart["PodDisruptionBudget"]["spec"]["selector"]]
    assert [one["matchLabels"] for one in selectors] == [labels, labels]
    assert chart["Service"]["spec"]["selector"] == labels
    assert chart["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == chart["Deployment"]["metadata"]["name"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": "http"}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    grace_ms = read_settings(chart_settings, {}).server.shutdown_grace
    assert pod["terminationGracePeriodSeconds"] * 1000 > grace_ms + 15_000 + 5_000  # and the pause of preStop
    backends = [rule["http"]["paths"][0]["backend"]["service"] for rule in chart["Ingress"]["spec"]["rules"]]
    assert backends == [{"name": chart["Service"]["metadata"]["name"], "port": {"name": "http"}}] * 2
    assert {port["targetPort"] for port in chart["Service"]["spec"]["ports"]} == {"http", "metrics"}


def test_the_compose_file_names_what_is_there() -> None:
    compose = yaml_of("compose", "docker-compose.yml")
    services = compose["services"]
    servers = [name for name in services if name.startswith("starling")]
    assert len(servers) == 2
    folder = DEPLOY / "compose"
    for name in servers:
        service = services[name]
        build = service["build"]
        assert (folder / build["context"] / build["dockerfile"]).is_file()
        assert set(service["environment"]) == set(ENVIRONMENT)
        assert set(service["depends_on"]) <= set(services)
    files = [mount for service in services.values() for mount in service.get("volumes", ()) if mount.startswith(".")]
    assert files
    assert all((folder / mount.split(":")[0]).is_file() for mount in files)
    volumes = {mount.split(":")[0] for service in services.values() for mount in service.get("volumes", ())}
    assert {volume for volume in volumes if not volume.startswith(".")} == set(compose["volumes"])
    wanted = set(re.findall(r"\$\{(\w+)", text_of("compose", "docker-compose.yml")))
    assert wanted == set(re.findall(r"^(\w+)=", text_of("compose", ".env.example"), re.MULTILINE))
    assert set(re.findall(r"starling-\d(?=:8008)", text_of("compose", "Caddyfile"))) == set(servers)
    grace_ms = read_settings(folder / "homeserver.yaml", ENVIRONMENT).server.shutdown_grace
    assert int(services[servers[0]]["stop_grace_period"].removesuffix("s")) * 1000 > grace_ms + 15_000


def test_the_image_holds_every_package_and_extra_that_it_needs() -> None:
    recipe = text_of("container", "Containerfile")
    project = (ROOT / "pyproject.toml").read_text()
    packages = re.search(r"^packages = \[(.*)\]$", project, re.MULTILINE)
    assert packages is not None
    roots = {name.split("/")[0] for name in re.findall(r'"(.*?)"', packages[1])}
    copied = set(re.findall(r"^COPY (\w+) \w+$", recipe, re.MULTILINE))
    assert copied == roots
    let_in = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert let_in == roots | {"pyproject.toml", "README.md", "LICENSE"}
    extras = re.search(r"'\.\[(.*)\]'", recipe)
    assert extras is not None
    for extra in extras[1].split(","):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra
    assert "/etc/starling/homeserver.yaml" in recipe


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile", "haproxy.cfg"])
def test_proxies_wait_long_enough_and_take_whole_uploads(name: str) -> None:
    text = text_of("proxies", name)
    largest = Settings().media.max_upload_size
    sizes = {"nginx.conf": f"client_max_body_size {largest >> 20}m", "Caddyfile": f"max_size {largest >> 20}MiB"}
    assert sizes.get(name, f"gt {largest} ") in text
    waits = re.findall(r"(?:read_timeout|header_timeout|timeout server|timeout client) +(\d+)s", text)
    assert waits
    assert all(int(seconds) > LONGEST_WAIT_S for seconds in waits)
    assert re.search(r"\$http_authorization|header Authorization|hdr\(Authorization\)", text)
    assert "/.well-known/matrix/" in text
    assert "8448" in text
    assert text.count("{") == text.count("}")


def test_the_ingress_waits_long_enough_and_takes_whole_uploads(chart: dict[str, Any]) -> None:
    notes = {name.rpartition("/")[2]: text for name, text in chart["Ingress"]["metadata"]["annotations"].items()}
    assert notes["proxy-body-size"] == f"{Settings().media.max_upload_size >> 20}m"
    assert int(notes["proxy-read-timeout"]) > LONGEST_WAIT_S
    assert notes["upstream-hash-by"] == "$http_authorization"


def test_nothing_after_proxy_pass_changes_the_path() -> None:
    assert set(re.findall(r"proxy_pass (.*?);", text_of("proxies", "nginx.conf"))) == {"http://starling"}


def test_the_longest_wait_is_that_of_the_server() -> None:
    assert f"maximum={LONGEST_WAIT_S}_000)" in (ROOT / "homeserver" / "client_api" / "sync.py").read_text()


def test_the_unit_runs_a_real_command() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(text_of("systemd", "starling.service"))
    service = unit["Service"]
    command = service["ExecStart"].split()
    assert command[0].endswith("/homeserver")
    run = main.commands["run"]
    known = {name for parameter in run.params for name in parameter.opts}
    assert command[1] == "run"
    assert {word for word in command if word.startswith("--")} <= known
    grace_ms = read_settings(DEPLOY / "systemd" / "homeserver.yaml", ENVIRONMENT).server.shutdown_grace
    assert int(service["TimeoutStopSec"].removesuffix("s")) * 1000 > grace_ms + 15_000


def test_the_manual_names_every_file() -> None:
    manual = (ROOT / "docs" / "deploy.md").read_text()
    for path in DEPLOY.rglob("*"):
        if path.is_file() and "templates" not in path.parts:
            assert f"({path.relative_to(ROOT / 'docs').as_posix()})" in manual, path
