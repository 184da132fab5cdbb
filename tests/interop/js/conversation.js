// A conversation as Element shows it: threads with their own receipts and counts, edits, reactions, members, typing.

import assert from "node:assert/strict";
import * as sdk from "matrix-js-sdk";
import { event, inRoom, invited, play, refused, register, text, until } from "./people.js";

const { Annotation, Replace, Thread } = { Annotation: "m.annotation", Replace: "m.replace", Thread: "m.thread" };

play(async () => {
    const [alice, bob] = await Promise.all([register("talk-alice"), register("talk-bob")]);
    const { room_id: roomId } = await alice.createRoom({ name: "Salon", topic: "Talk", invite: [bob.getUserId()] });
    await invited(bob, roomId);
    assert.equal(bob.getRoom(roomId).name, "Salon");
    await bob.joinRoom(roomId);
    await Promise.all([inRoom(alice, roomId), inRoom(bob, roomId)]);
    const [alices, bobs] = [alice.getRoom(roomId), bob.getRoom(roomId)];

    // Members, with lazy loading.
    await bobs.loadMembersIfNeeded();
    const names = () => bobs.getJoinedMembers().map(({ name }) => name).sort();
    assert.deepEqual(names(), ["talk-alice", "talk-bob"]);
    await alice.setDisplayName("Alice");
    await until(bob, sdk.RoomMemberEvent.Name, () => names().includes("Alice"));
    assert.equal(alices.getJoinedMemberCount(), 2);

    // An edit and a reaction, told live and bundled.
    const { event_id: root } = await alice.sendTextMessage(roomId, "Helo");
    await text(bob, roomId, "Helo");
    const corrected = { msgtype: "m.text", body: "Hello" };
    await alice.sendMessage(roomId, {
        ...corrected,
        "body": "* Hello",
        "m.new_content": corrected,
        "m.relates_to": { rel_type: Replace, event_id: root },
    });
    await until(bob, sdk.MatrixEventEvent.Replaced, () => bobs.findEventById(root).getContent().body === "Hello");
    const liked = { "m.relates_to": { rel_type: Annotation, event_id: root, key: "👋" } };
    const { event_id: reaction } = await bob.sendEvent(roomId, "m.reaction", liked);
    await event(alice, roomId, (found) => found.getId() === reaction);
    const { events: reactions } = await alice.relations(roomId, root, Annotation, "m.reaction");
    assert.deepEqual(reactions.map((found) => found.getRelation().key), ["👋"]);
    await bob.redactEvent(roomId, reaction);
    await until(alice, sdk.RoomEvent.Redaction, () => alices.findEventById(reaction).isRedacted());

    // Typing and an unthreaded receipt.
    await bob.sendTyping(roomId, true, 20_000);
    await until(alice, sdk.RoomMemberEvent.Typing, () => alices.getMember(bob.getUserId()).typing);
    await bob.sendReadReceipt(bobs.findEventById(root));
    await until(alice, sdk.RoomEvent.Receipt, () => alices.hasUserReadEvent(bob.getUserId(), root));

    // A thread: its root is told with a summary, its replies are counted apart.
    alices.createThread(root, alices.findEventById(root), [], true);
    const replies = [];
    for (const words of ["first", "second", "third"]) {
        const relation = { "m.relates_to": { rel_type: Thread, event_id: root, is_falling_back: true } };
        const content = { msgtype: "m.text", body: words, ...relation };
        replies.push((await alice.sendMessage(roomId, root, content)).event_id);
        // One after another: the library counts a reply twice that arrives while it asks for the root.
        await until(bob, sdk.ThreadEvent.Update, () => {
            const found = bobs.getThread(root);
            return found?.initialEventsFetched && found.replyToEvent?.getId() === replies.at(-1);
        });
    }
    const thread = bobs.getThread(root);
    assert.equal(thread.length, 3);
    await until(bob, sdk.RoomEvent.UnreadNotifications, () => bobs.getThreadUnreadNotificationCount(root) === 3);
    await bob.sendReadReceipt(thread.replyToEvent);
    await until(bob, sdk.RoomEvent.UnreadNotifications, () => bobs.getThreadUnreadNotificationCount(root) === 0);
    await until(alice, sdk.RoomEvent.Receipt, () => {
        return alices.getThread(root)?.getReadReceiptForUserId(bob.getUserId())?.eventId === replies[2];
    });
    assert.equal(thread.rootEvent.getId(), root);
    const listed = await bob.createThreadListMessagesRequest(roomId, null, 10, sdk.Direction.Backward, sdk.ThreadFilterType.All);
    assert.deepEqual(listed.chunk.map(({ event_id }) => event_id), [root]);
    assert.equal(listed.chunk[0].unsigned["m.relations"]["m.thread"].count, 3);
    const mine = await bob.createThreadListMessagesRequest(roomId, null, 10, sdk.Direction.Backward, sdk.ThreadFilterType.My);
    assert.deepEqual(mine.chunk, []);
    await bobs.createThreadsTimelineSets();
    await bobs.fetchRoomThreads();
    assert.deepEqual(bobs.getThreads().map(({ id }) => id), [root]);
    assert.deepEqual(thread.events.map((found) => found.getContent().body).slice(-3), ["first", "second", "third"]);

    // Everything before is still there to scroll to, and to jump to.
    for (let number = 0; number < 40; number++) await alice.sendTextMessage(roomId, `line ${number}`);
    await text(bob, roomId, "line 39");
    const window = new sdk.TimelineWindow(bob, bobs.getUnfilteredTimelineSet());
    await window.load(root, 10);
    assert(window.getEvents().some((found) => found.getId() === root));
    while (await window.paginate(sdk.Direction.Backward, 20));
    assert.equal(window.getEvents()[0].getType(), "m.room.create");
    while (await window.paginate(sdk.Direction.Forward, 20));
    assert.equal(window.getEvents().at(-1).getContent().body, "line 39");

    // A picture, which only those who are logged in may fetch.
    const bytes = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");
    const { content_uri: uri } = await alice.uploadContent(bytes, { name: "dot.png", type: "image/png" });
    await alice.sendMessage(roomId, { msgtype: "m.image", body: "dot.png", url: uri });
    const picture = await text(bob, roomId, "dot.png");
    const address = bob.mxcUrlToHttp(picture.getContent().url, undefined, undefined, undefined, true, true, true);
    assert.equal((await fetch(address)).status, 401);
    const fetched = await fetch(address, { headers: { Authorization: `Bearer ${bob.getAccessToken()}` } });
    assert.equal(fetched.headers.get("content-type"), "image/png");
    assert.deepEqual(Buffer.from(await fetched.arrayBuffer()), bytes);

    // Account data and tags reach the other requests of the same user.
    await bob.setRoomTag(roomId, "m.favourite", { order: 0.5 });
    await until(bob, sdk.RoomEvent.Tags, () => bobs.tags["m.favourite"]?.order === 0.5);
    await bob.setAccountData("org.example.colour", { favourite: "green" });
    assert.deepEqual(bob.getAccountData("org.example.colour").getContent(), { favourite: "green" });

    // The room is replaced; its members follow.
    const { replacement_room: newRoomId } = await alice.upgradeRoom(roomId, "12");
    const tombstone = await event(bob, roomId, (found) => found.getType() === "m.room.tombstone");
    assert.equal(tombstone.getContent().replacement_room, newRoomId);
    await alice.invite(newRoomId, bob.getUserId());
    await invited(bob, newRoomId);
    await bob.joinRoom(newRoomId);
    const followed = await inRoom(bob, newRoomId);
    assert.equal(followed.findPredecessor().roomId, roomId);
    assert.equal(followed.name, "Salon");
    assert.deepEqual(bob.getVisibleRooms().map((room) => room.roomId), [newRoomId]);

    // Leaving and logging out.
    await bob.leave(newRoomId);
    await until(alice, sdk.RoomStateEvent.Members, () => alice.getRoom(newRoomId)?.getMember(bob.getUserId())?.membership === "leave");
    assert.equal((await refused(bob.sendTextMessage(newRoomId, "still here?"), 403)).errcode, "M_FORBIDDEN");
    await bob.logout(true);
    assert.equal((await refused(bob.whoami(), 401)).errcode, "M_UNKNOWN_TOKEN");
});
