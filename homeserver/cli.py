"""The command line: run the server, check and write its configuration, make accounts.

What fails says what to do next, and ends with a status other than 0.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from homeserver import __version__
from homeserver_config.reader import ConfigError, read_settings
from homeserver_config.settings import Settings

if TYPE_CHECKING:
    from homeserver.app.backup import BackupReport

_config_option = click.option(
    "-c",
    "--config",
    "config",
    type=click.Path(exists=True, dir_okay=False),
    help="The settings file. Without it: homeserver.yaml in this folder, if there is one.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="homeserver")
def main() -> None:
    """Starling, a Matrix homeserver."""


@main.command()
@_config_option
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    help="Run so many processes on this machine. Needs PostgreSQL; set cluster.redis_url, too. SIGHUP replaces them.",
)
@click.option("--member", type=int, hidden=True)
@click.option("--ready-fd", type=int, hidden=True)
def run(config: str | None, processes: int | None, member: int | None, ready_fd: int | None) -> None:
    """Run the server until it is told to stop (Ctrl-C, SIGTERM)."""
    settings = _settings(config)
    if processes is not None and processes > 1:
        _run_processes(settings, config, processes)
        return
    from homeserver.app.serve import serve
    from homeserver.app.signing_key import BadSigningKey
    from homeserver.plugin_api.implementations import PluginError
    from homeserver.runtime.log_setup import set_up_logging
    from homeserver.storage.schema import SchemaTooNew

    set_up_logging(settings.logging)
    if member is None:
        _say_what_is_used(settings, config)
    else:
        settings = settings.as_member()
    try:
        asyncio.run(serve(settings, member, ready_fd))
    except (OSError, ValueError, ConfigError, BadSigningKey, PluginError, SchemaTooNew) as error:
        _fail(f"The server could not start: {error}")


def _run_processes(settings: Settings, config: str | None, number: int) -> None:
    from homeserver.app.processes import Processes
    from homeserver.runtime.log_setup import set_up_logging

    if settings.database_url.startswith("sqlite"):
        _fail("Several processes need PostgreSQL: set database.url in the settings file.")
    if any(listener.bind_address.startswith("unix:") for listener in settings.listeners):
        _fail("Several processes cannot share a unix socket: let the listeners name a port.")
    set_up_logging(settings.logging)
    _say_what_is_used(settings, config)
    if settings.cluster.redis_url is None:
        click.echo("Without cluster.redis_url processes hear of each other's changes a moment later.", err=True)
    stop_within_s = settings.server.shutdown_grace / 1000 + 15
    asyncio.run(Processes(number, config, stop_within_s).run())


@main.command("check-config")
@_config_option
def check_config(config: str | None) -> None:
    """Check a settings file: every mistake, with its line."""
    settings = _settings(config)
    from homeserver.plugin_api.loader import find_plugins

    try:
        find_plugins(settings.plugins)
    except ConfigError as error:
        _fail(str(error))
    click.echo(f"The settings are fine. This server is {settings.server.server_name}.")


@main.command("generate-config")
@click.argument("server_name")
@click.option("-o", "--output", type=click.Path(dir_okay=False), default="homeserver.yaml", show_default=True)
def generate_config(server_name: str, output: str) -> None:
    """Write a settings file for SERVER_NAME, with every setting explained."""
    from homeserver_config.example import settings_for

    path = Path(output)
    if path.exists():
        _fail(f"{path} is there already. Move it away, or name another file with --output.")
    text = settings_for(server_name)
    try:
        read_settings(text, {})
    except ConfigError as error:
        _fail(str(error))
    path.write_text(text, encoding="utf-8")
    click.echo(f"Wrote {path}. Next: look it over, then `homeserver run --config {path}`.")


@main.command("create-user")
@click.argument("name")
@click.option("--admin", is_flag=True, help="Make the account an administrator.")
@click.option("--password", envvar="HOMESERVER_NEW_PASSWORD", help="Without it you are asked for one.")
@_config_option
def create_user(name: str, admin: bool, password: str | None, config: str | None) -> None:
    """Make the account NAME (the part before the colon), on a running server or a stopped one."""
    settings = _settings(config)
    if password is None:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    from homeserver.app.create_user import create_account
    from homeserver.protocol.errors import MatrixError

    try:
        user_id = asyncio.run(create_account(settings, name, password, admin=admin))
    except MatrixError as error:
        _fail(error.sentence)
    click.echo(f"Made {user_id}. Log in with this id at {settings.public_baseurl}.")


@main.group()
def storage() -> None:
    """Look at what this server stores."""


@storage.command("report")
@click.option("--most", default=15, show_default=True, help="How many tables, rooms and users to list.")
@_config_option
def storage_report(most: int, config: str | None) -> None:
    """Say where the bytes are: by table, room and user. Works beside a running server."""
    settings = _settings(config)
    from homeserver.app.storage_report import report

    for line in asyncio.run(report(settings, most)):
        click.echo(line)


@main.group()
def federation() -> None:
    """Look at how this server gets on with others."""


@federation.command("check")
@click.argument("server_name")
@_config_option
def check_federation(server_name: str, config: str | None) -> None:
    """Walk the way to SERVER_NAME: discovery, addresses, TLS, keys. With this server's own name: as others go it."""
    settings = _settings(config)
    from homeserver.app.federation_check import check_server
    from homeserver.app.signing_key import BadSigningKey

    try:
        findings = asyncio.run(check_server(settings, server_name))
    except BadSigningKey as error:
        _fail(str(error))
    for finding in findings:
        click.echo(f"{'FAULT' if finding.is_fault else 'ok   '}  {finding.sentence}")
    faults = sum(finding.is_fault for finding in findings)
    if faults:
        _fail(f"Federation with {server_name} does not work: see the {faults} lines marked FAULT.")
    click.echo(f"Federation with {server_name} works, as far as can be seen from here.")


@federation.command("rejected")
@click.argument("room_id")
@click.option("--limit", default=50, show_default=True, help="How many events at most, the newest first.")
@_config_option
def show_rejected(room_id: str, limit: int, config: str | None) -> None:
    """Show the events of ROOM_ID that were rejected or soft-failed, and why."""
    settings = _settings(config)
    from homeserver.app.refused_events import load_refused

    refused = asyncio.run(load_refused(settings, room_id, limit))
    if refused is None:
        _fail(f"This server does not know the room {room_id}.")
    for one in refused:
        event = one.event
        when = datetime.fromtimestamp(event.origin_server_ts / 1000, UTC)
        click.echo(f"{when:%Y-%m-%d %H:%M:%S}  {one.standing.value}  {event.type}  {event.sender}  {one.event_id}")
        click.echo(f"    {one.reason or 'no reason was kept'}")
    if not refused:
        click.echo("No event of this room was rejected or soft-failed.")


@main.group()
def media() -> None:
    """Look after the files that were uploaded."""


@media.command("migrate")
@click.option("--from", "source", required=True, help="The plugin whose store has the files, e.g. media_disk.")
@click.option("--to", "target", required=True, help="The plugin whose store shall have them, e.g. media_s3.")
@click.option("--at-once", type=click.IntRange(1, 64), default=4, show_default=True, help="How many files at a time.")
@_config_option
def migrate_media(source: str, target: str, at_once: int, config: str | None) -> None:
    """Copy all media from one store to another. Can be stopped, and run again: what is there already is passed over."""
    settings = _settings(config)
    if source == target:
        _fail("--from and --to name the same plugin.")
    from homeserver.app.media_migration import migrate
    from homeserver.plugin_api.implementations import PluginError

    try:
        with click.progressbar(length=0, label="Copying", show_pos=True) as bar:

            def show(total: int, done: int) -> None:
                bar.length = total
                bar.update(done - bar.pos)

            report = asyncio.run(migrate(settings, source, target, at_once, show))
    except (ConfigError, PluginError, ValueError) as error:
        _fail(str(error))
    click.echo(
        f"Copied {report.copied} files ({report.copied_bytes} bytes); {report.there_already} were there already."
    )
    for store_id, reason in report.failed:
        click.echo(f"FAULT  {store_id}: {reason}", err=True)
    if report.failed:
        _fail(f"{len(report.failed)} files were not copied. Mend what is wrong, and run this again.")
    click.echo(f"Next: set `media.store: {target}`, restart, and run this once more for what was uploaded meanwhile.")


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@_config_option
def backup(folder: Path, config: str | None) -> None:
    """Copy database, signing key and media into FOLDER, beside a running server. Again into the same: what is new."""
    settings = _settings(config)
    from homeserver.app.backup import BackupError, back_up
    from homeserver.plugin_api.implementations import PluginError

    try:
        report = asyncio.run(back_up(settings, folder))
    except (BackupError, ConfigError, PluginError, OSError) as error:
        _fail(str(error))
    _tell_of_copies("Backed up", report)


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_config_option
def restore(folder: Path, config: str | None) -> None:
    """Put what `backup` copied into FOLDER where the settings want it. Nothing that is there is overwritten."""
    settings = _settings(config)
    from homeserver.app.backup import BackupError, put_back
    from homeserver.plugin_api.implementations import PluginError

    try:
        report = asyncio.run(put_back(settings, folder))
    except (BackupError, ConfigError, PluginError, OSError) as error:
        _fail(str(error))
    _tell_of_copies("Restored", report)


def _tell_of_copies(done: str, report: BackupReport) -> None:
    media = report.media
    click.echo(
        f"{done} the signing key{', the database' if report.has_database else ''} and {media.copied} files of media."
    )
    click.echo(f"{media.there_already} files of media were there already.")
    if not report.has_database:
        click.echo("The database is PostgreSQL: use pg_dump and pg_restore for it, see docs/operate.md.")
    for store_id, reason in media.failed:
        click.echo(f"FAULT  {store_id}: {reason}", err=True)
    if media.failed:
        _fail(f"{len(media.failed)} files of media were not copied.")


def _settings(config: str | None) -> Settings:
    from homeserver.app.config_file import find_config

    try:
        return read_settings(find_config(config), dict(os.environ))
    except ConfigError as error:
        _fail(str(error))


def _say_what_is_used(settings: Settings, config: str | None) -> None:
    from homeserver.app.config_file import find_config

    found = find_config(config)
    where = f"settings from {found}" if found is not None else "no settings file, so the defaults for local use"
    click.echo(f"Starling {__version__}: {where}; data in {settings.server.data_directory.resolve()}.")
    click.echo(f"This server is {settings.server.server_name}. Point a client at {settings.public_baseurl}.")
    click.echo("The first account: homeserver create-user --admin NAME (in another terminal).")


def _fail(sentence: str) -> NoReturn:
    click.echo(sentence, err=True)
    sys.exit(1)
