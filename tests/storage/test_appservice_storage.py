"""How application services stand, on both databases: positions, transactions, pauses, run-time registrations."""

from __future__ import annotations

from homeserver.storage import application_services as rows
from homeserver.storage.accounts import User, create_user
from homeserver.storage.application_services import BackOff, Queue, QueuedTransaction
from homeserver.storage.database import Database
from homeserver.storage.devices import Device, create_device
from homeserver.storage.followers import find_follower_position
from homeserver.storage.to_device import NewMessage, load_waiting, store_messages

BOT = "@_irc_bot:example.org"


async def test_a_transaction_stays_until_it_has_arrived(database: Database) -> None:
    assert await database.write(rows.open_queue, "irc") == Queue(0, None, None)
    planned = QueuedTransaction("7-x", 7, b'{"events":[]}', [(BOT, "BOTS", 2)])
    await database.write(rows.plan_transaction, "irc", planned)
    paused = BackOff(1_000, 2_000, 3_000)
    await database.write(rows.set_back_off, "irc", paused)
    assert await database.write(rows.open_queue, "irc") == Queue(0, planned, paused)
    assert await database.write(rows.open_queue, "other") == Queue(0, None, None)
    await database.write(rows.finish_transaction, "irc", planned)
    assert await database.write(rows.open_queue, "irc") == Queue(7, None, None)


async def test_messages_go_with_the_transaction_that_carries_them(database: Database) -> None:
    await database.write(create_user, User(BOT, "bot", 1, appservice_id="irc"))
    await database.write(create_device, BOT, Device("BOTS", None, 1, None, None, None), ())
    await database.write(store_messages, [NewMessage(BOT, "BOTS", b"{}")], 1)
    await database.write(store_messages, [NewMessage(BOT, "BOTS", b"[]")], 1)
    assert await database.read(rows.load_waited_for) == [BOT]
    waiting = (await database.read(load_waiting, BOT, "BOTS", 0, 10)).messages
    await database.write(rows.open_queue, "irc")
    first = QueuedTransaction("1-x", waiting[0][0], b"{}", [(BOT, "BOTS", waiting[0][0])])
    await database.write(rows.finish_transaction, "irc", first)
    assert (await database.read(load_waiting, BOT, "BOTS", 0, 10)).messages == waiting[1:]


async def test_registrations_made_at_run_time(database: Database) -> None:
    await database.write(rows.store_registration, "irc", b"{}", 1)
    await database.write(rows.store_registration, "xmpp", b"{}", 2)
    await database.write(rows.store_registration, "irc", b'{"url":null}', 3)
    assert await database.read(rows.load_registrations) == {"irc": b'{"url":null}', "xmpp": b"{}"}
    await database.write(rows.open_queue, "irc")
    await database.write(rows.store_position, "irc", 9)
    assert await database.write(rows.delete_registration, "irc") is True
    assert await database.write(rows.delete_registration, "irc") is False
    assert list(await database.read(rows.load_registrations)) == ["xmpp"]
    assert await database.read(find_follower_position, "application_service irc") is None
