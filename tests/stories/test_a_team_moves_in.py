"""A small team moves in: they register, find each other, talk, change their minds, and one of them leaves for good."""

from __future__ import annotations

from server_kit import SERVER, Server, bodies, events_of

from homeserver.testing import path_of


async def test_a_team_moves_in(server: Server) -> None:
    # Alice comes first and opens a room that others can find.
    alice, bob, carol = await server.users("alice", "bob", "carol")
    await alice.call("PUT", path_of("profile", alice.user_id, "displayname"), {"displayname": "Alice"})
    office = await alice.create_room(
        preset="public_chat", name="Office", topic="Work", room_alias_name="office", visibility="public"
    )

    # Bob finds it in the directory and joins by its alias. He sees what was said before he came.
    await alice.say(office, "Anybody there?")
    (listed,) = (await bob.call("GET", "/publicRooms"))["chunk"]
    assert (listed["name"], listed["num_joined_members"]) == ("Office", 1)
    await bob.call("POST", path_of("join", f"#office:{SERVER}"), {})
    first_look = await bob.sync()
    assert bodies(events_of(first_look, office)) == ["Anybody there?"]

    # They talk, and Bob reads on a second device what he wrote on the first.
    phone = await server.user("bob", device_id="PHONE")
    question = await bob.say(office, "Tea or coffee?")
    answer = await alice.say(office, "Coffee", **{"m.relates_to": {"m.in_reply_to": {"event_id": question}}})
    assert bodies(events_of(await phone.sync(), office)) == ["Anybody there?", "Tea or coffee?", "Coffee"]

    # Alice changes her mind; everybody is shown the newest word.
    change = {
        "m.new_content": {"msgtype": "m.text", "body": "Tea"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": answer},
    }
    await alice.say(office, "* Tea", **change)
    shown = await bob.call("GET", path_of("rooms", office, "event", answer))
    assert shown["unsigned"]["m.relations"]["m.replace"]["content"]["m.new_content"]["body"] == "Tea"

    # Bob's badge says what he has not read, until he has, on any device.
    bob.since = None
    assert (await bob.sync())["rooms"]["join"][office]["unread_notifications"]["notification_count"] == 1
    await phone.read(office, answer)
    bob.since = None
    assert (await bob.sync())["rooms"]["join"][office]["unread_notifications"]["notification_count"] == 0

    # Alice makes a room for the two of them and Carol, who is asked in and comes.
    plans = await alice.create_room(name="Plans", invite=[bob.user_id, carol.user_id])
    invited = (await carol.sync())["rooms"]["invite"][plans]["invite_state"]["events"]
    assert {"type": "m.room.name", "state_key": "", "sender": alice.user_id, "content": {"name": "Plans"}} in invited
    await carol.join(plans)
    await carol.say(plans, "What are we planning?")

    # Carol's words were hasty: she takes them back, and they are gone for everybody.
    hasty = await carol.say(plans, "I never liked tea")
    await carol.redact(plans, hasty)
    said = (await alice.messages(plans, limit="3"))["chunk"]
    assert [event["content"] for event in said if event["event_id"] == hasty] == [{}]

    # Carol leaves the company: her account goes, and with it she leaves every room.
    accounts = server.homeserver.accounts.accounts
    await accounts.deactivate(carol.user_id, erase=True)
    assert (await carol.ask("GET", "/account/whoami")).status == 401
    for _ in range(50):
        members = await alice.call("GET", path_of("rooms", plans, "joined_members"))
        if carol.user_id not in members["joined"]:
            break
        await alice.sync(200)
    assert set(members["joined"]) == {alice.user_id}
