"""Reading homeserver.yaml: defaults, every mistake at once with line and key, secrets, environment, plugins."""

from pathlib import Path

import pytest
from pydantic import Field

from homeserver_config import ConfigError, Secret, Settings, plugin_settings, read_settings
from homeserver_config.values import Section


def mistakes(text: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_settings(text, env)
    assert str(caught.value) == "\n".join(str(mistake) for mistake in caught.value.mistakes)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_no_file_is_a_server_for_local_use() -> None:
    settings = read_settings(None)
    assert settings == Settings()
    assert settings.server.server_name == "localhost"
    assert settings.database_url == "sqlite:///data/homeserver.db"
    assert settings.signing_key_path == Path("data/signing.key")
    assert settings.public_baseurl == "http://localhost:8008"
    assert settings.registration.mode == "token"


@pytest.mark.parametrize("text", ["", "# nothing\n", "database:\n", "{}"])
def test_empty_files_and_sections_mean_defaults(text: str) -> None:
    assert read_settings(text) == Settings()


def test_values_as_people_write_them() -> None:
    settings = read_settings(
        """
        server: {server_name: "example.org:8448", data_directory: /srv/starling}
        rooms: {default_room_version: 11}
        media: {max_upload_size: 100M, unused_upload_lifetime: 1d12h}
        listeners:
          - port: 80
          - {port: 9000, resources: [metrics]}
        federation: {deny: ["*.evil.example"]}
        logging: {level: INFO}
        """
    )
    assert settings.server.data_directory == Path("/srv/starling")
    assert settings.rooms.default_room_version == "11"
    assert settings.media.max_upload_size == 100 * 1024 * 1024
    assert settings.media.unused_upload_lifetime == 36 * 3_600_000
    assert [listener.port for listener in settings.listeners] == [80, 9000]
    assert settings.logging.level == "info"
    assert settings.public_baseurl == "https://example.org:8448"


def test_all_mistakes_at_once_each_with_its_line() -> None:
    text = """\
server:
  server_name: https://example.org
databas:
  pool_size: 3
database:
  pol_size: 3
  pool_size: 0
  synchronous: maybe
listeners:
  - port: 8008
  - port: seventy
    tls_key: a.pem
rate_limits:
  mesage: {per_second: 1, burst: 1}
  join: {per_second: 1}
media:
  max_upload_size: huge
  url_preview_lifetime: 5 parsecs
"""
    assert mistakes(text) == [
        (
            "homeserver.yaml:2: server.server_name: must be a server name such as example.org or example.org:8448, "
            "without https://"
        ),
        "homeserver.yaml:3: databas: is not a known key; did you mean `database`?",
        "homeserver.yaml:6: database.pol_size: is not a known key; did you mean `pool_size`?",
        "homeserver.yaml:7: database.pool_size: must be greater than or equal to 1",
        "homeserver.yaml:8: database.synchronous: must be 'full' or 'normal'",
        "homeserver.yaml:11: listeners[1].port: must be a valid integer, unable to parse string as an integer",
        "homeserver.yaml:14: rate_limits.mesage: is not a known key; did you mean `message`?",
        "homeserver.yaml:15: rate_limits.join.burst: is missing",
        "homeserver.yaml:17: media.max_upload_size: must be a size such as 512K, 50M or 2G",
        "homeserver.yaml:18: media.url_preview_lifetime: must be a duration such as 500ms, 30s, 5m, 1h30m, 7d or 4w",
    ]


def test_keys_that_go_together() -> None:
    found = mistakes("listeners:\n  - port: 1\n  - tls_key: a.pem\n")
    assert found == ["homeserver.yaml:3: listeners[1]: tls_certificate and tls_key go together"]


def test_yaml_mistakes_come_with_the_others() -> None:
    assert mistakes("a: [1\nb: 2\n")[0].startswith("homeserver.yaml:2: is not YAML: ")
    assert mistakes("- a\n- b\n") == ["homeserver.yaml: must be a mapping of sections"]
    assert mistakes("presence: {enabled: true}\nmedia: {store: 1}\npresence: {enabled: no}\n") == [
        "homeserver.yaml:2: media.store: must be a valid string",
        "homeserver.yaml:3: presence: is written twice",
    ]
    assert mistakes("well_known: &a {client_extra: *a}\n") == [
        "homeserver.yaml:1: well_known.client_extra: refers to itself",
        "homeserver.yaml:1: well_known.client_extra: must be a valid dictionary",
    ]


def test_anchors_and_merges_are_understood() -> None:
    settings = read_settings("rate_limits:\n  join: &slow {per_second: 1, burst: 2}\n  invite: {<<: *slow, burst: 5}\n")
    assert (settings.rate_limits.invite.per_second, settings.rate_limits.invite.burst) == (1, 5)


def test_secrets_from_text_files_and_the_environment(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from a file\n")
    (tmp_path / "homeserver.yaml").write_text(
        "registration: {shared_secret: {file: password}}\n"
        "database: {url: {env: DATABASE_URL}}\n"
        "passwords: {pepper: inline}\n"
    )
    settings = read_settings(tmp_path / "homeserver.yaml", {"DATABASE_URL": "postgresql://u:p@h/d"})
    assert settings.registration.shared_secret == Secret("from a file")
    assert settings.database_url == "postgresql+asyncpg://u:p@h/d"
    assert settings.passwords.pepper == Secret("inline")
    for hidden in ("from a file", "u:p", "inline"):
        assert hidden not in repr(settings)
        assert hidden not in str(settings.registration.shared_secret)


def test_secrets_that_are_not_there() -> None:
    assert mistakes(
        "passwords: {pepper: {env: NOPE}}\nregistration: {shared_secret: {file: nope}}\ndatabase: {url: 5}"
    ) == [
        "homeserver.yaml:1: passwords.pepper: the environment has no variable NOPE",
        "homeserver.yaml:2: registration.shared_secret: the file nope cannot be read: No such file or directory",
        "homeserver.yaml:3: database.url: must be a text, {file: path} or {env: NAME}",
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_settings(tmp_path / "homeserver.yaml")


def test_the_environment_replaces_keys() -> None:
    env = {"HOMESERVER__DATABASE__POOL_SIZE": "16", "HOMESERVER__SERVER__SERVER_NAME": "example.org", "PATH": "/bin"}
    settings = read_settings("database: {pool_size: 3, reader_threads: 2}", env)
    assert (settings.database.pool_size, settings.database.reader_threads) == (16, 2)
    assert settings.server.server_name == "example.org"


def test_mistakes_in_the_environment_name_the_variable() -> None:
    env = {"HOMESERVER__DATABASE__POOL_SIZE": "many"}
    assert mistakes("", env) == [
        (
            "HOMESERVER__DATABASE__POOL_SIZE: database.pool_size: must be a valid integer, unable to parse string as "
            "an integer"
        )
    ]


class PluginModel(Section):
    """Settings of a plugin of these tests."""

    url: str = Field(description="Where.")
    retries: int = Field(default=3, ge=0, description="How often.")
    secret: Secret | None = Field(default=None, description="What.")


PLUGINS = """\
plugins:
  - plain
  - name: second
    settings:
      url: http://a
      retries: -1
      retires: 5
"""


def test_plugins_have_settings_of_their_own() -> None:
    text = PLUGINS.replace("-1", "1").replace("retires: 5", "secret: {env: S}")
    plain, second = read_settings(text, {"S": "hidden"}).plugins
    assert (plain.name, second.name) == ("plain", "second")
    model = plugin_settings(PluginModel, second.settings)
    assert (model.url, model.retries, model.secret) == ("http://a", 1, Secret("hidden"))


def test_mistakes_in_plugins_settings_look_like_ours() -> None:
    plain, second = read_settings(PLUGINS).plugins
    with pytest.raises(ConfigError) as caught:
        plugin_settings(PluginModel, second.settings)
    assert [str(mistake) for mistake in caught.value.mistakes] == [
        "homeserver.yaml:6: plugins[1].settings.retries: must be greater than or equal to 0",
        "homeserver.yaml:7: plugins[1].settings.retires: is not a known key; did you mean `retries`?",
    ]
    with pytest.raises(ConfigError, match=r"homeserver.yaml:2: plugins\[0\].settings.url: is missing"):
        plugin_settings(PluginModel, plain.settings)


def test_a_plugin_listed_twice() -> None:
    assert mistakes("plugins: [a, b, a]") == ["homeserver.yaml: the plugin a is listed twice"]


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_settings(None).server.server_name = "other"


def test_addresses_cannot_be_demanded_without_email() -> None:
    demanding = "registration:\n  email: required\n"
    (mistake,) = mistakes(demanding)
    assert "registration.email is required" in mistake
    assert read_settings(demanding + "email:\n  enabled: true\n").registration.email == "required"
    (mistake,) = mistakes("email:\n  from_address: nobody\n")
    assert "noreply@example.org" in mistake
