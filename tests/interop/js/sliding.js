// The room list of Element with sliding sync: rooms come by windows, open rooms by subscription, keys by extensions.

import assert from "node:assert/strict";
import * as sdk from "matrix-js-sdk";
import { SlidingSync, SlidingSyncEvent } from "matrix-js-sdk/lib/sliding-sync.js";
import { event, inRoom, play, register, sliding, text, until } from "./people.js";

const STATE = [
    ["m.room.name", ""],
    ["m.room.create", ""],
    ["m.room.encryption", ""],
    ["m.room.join_rules", ""],
    ["m.room.power_levels", ""],
    ["m.room.tombstone", ""],
    ["m.room.member", "$LAZY"],
    ["m.room.member", "$ME"],
];
const LIST = { ranges: [[0, 1]], timeline_limit: 1, required_state: STATE, filters: { not_room_types: ["m.space"] } };

play(async () => {
    const alice = await register("slide-alice");
    const rooms = [];
    for (let number = 0; number < 4; number++) {
        rooms.push((await alice.createRoom({ name: `Salon ${number}`, preset: "public_chat" })).room_id);
    }
    const lists = new Map([["all", LIST]]);
    const bob = await sliding("slide-bob", (client) => {
        return new SlidingSync(client.baseUrl, lists, { timeline_limit: 20, required_state: [["*", "*"]] }, client, 5_000);
    });
    const sync = bob.connection;
    for (const room of rooms) await bob.joinRoom(room);

    // The window holds two of the four rooms, and grows.
    await until(sync, SlidingSyncEvent.Lifecycle, () => sync.getListData("all")?.joinedCount === 4);
    sync.setListRanges("all", [[0, 9]]);
    for (const room of rooms) await inRoom(bob, room);
    assert.deepEqual(rooms.map((room) => bob.getRoom(room).name), ["Salon 0", "Salon 1", "Salon 2", "Salon 3"]);

    // Opening a room brings its history; both talk.
    const [roomId] = rooms;
    for (let number = 0; number < 5; number++) await alice.sendTextMessage(roomId, `before ${number}`);
    sync.modifyRoomSubscriptions(new Set([roomId]));
    for (let number = 0; number < 5; number++) await text(bob, roomId, `before ${number}`);
    await alice.sendTextMessage(roomId, "hello");
    await text(bob, roomId, "hello");
    await bob.sendTextMessage(roomId, "hi");
    await text(alice, roomId, "hi");
    assert.equal(bob.getRoom(roomId).getMember(alice.getUserId()).name, "slide-alice");
    await until(bob, sdk.RoomEvent.Timeline, () => bob.getRoom(roomId).getLiveTimeline().getEvents().length > 6);

    // Receipts, typing, account data, tags and unread counts.
    const heard = await event(bob, roomId, (found) => found.getContent().body === "hello");
    await alice.sendTyping(roomId, true, 20_000);
    await until(bob, sdk.RoomMemberEvent.Typing, () => bob.getRoom(roomId).getMember(alice.getUserId()).typing);
    await alice.sendReadReceipt(alice.getRoom(roomId).findEventById(heard.getId()));
    await until(bob, sdk.RoomEvent.Receipt, () => bob.getRoom(roomId).hasUserReadEvent(alice.getUserId(), heard.getId()));
    await bob.setRoomTag(roomId, "m.favourite", { order: 0.5 });
    await until(bob, sdk.RoomEvent.Tags, () => bob.getRoom(roomId).tags["m.favourite"]?.order === 0.5);
    await alice.sendTextMessage(rooms[1], "unread");
    await until(bob, sdk.RoomEvent.UnreadNotifications, () => bob.getRoom(rooms[1]).getUnreadNotificationCount() === 1);

    // A name that changes, and a room that is scrolled back.
    await alice.setRoomName(rooms[2], "Kitchen");
    await until(bob, sdk.RoomEvent.Name, () => bob.getRoom(rooms[2]).name === "Kitchen");
    const room = bob.getRoom(roomId);
    while (await bob.paginateEventTimeline(room.getLiveTimeline(), { backwards: true, limit: 30 }));
    // The library does not sort what it had before it scrolled.
    assert(room.getLiveTimeline().getEvents().some((found) => found.getType() === "m.room.create"));

    // An invitation to an encrypted room, with the keys in the extensions.
    const encryption = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };
    const { room_id: secretId } = await alice.createRoom({ name: "Secret", invite: [bob.getUserId()], initial_state: [encryption] });
    await until(bob, sdk.ClientEvent.Room, () => bob.getRoom(secretId)?.getMyMembership() === "invite");
    await bob.joinRoom(secretId);
    await inRoom(bob, secretId);
    await until(alice, sdk.RoomStateEvent.Members, () => alice.getRoom(secretId).getMember(bob.getUserId())?.membership === "join");
    await alice.sendTextMessage(secretId, "for your eyes only");
    const read = await text(bob, secretId, "for your eyes only");
    assert(read.isEncrypted());
    await bob.sendTextMessage(secretId, "I have read it");
    await text(alice, secretId, "I have read it");

    // Leaving, and being put out.
    await bob.leave(rooms[3]);
    await until(bob, sdk.RoomEvent.MyMembership, () => bob.getRoom(rooms[3])?.getMyMembership() === "leave");
    await alice.kick(rooms[2], bob.getUserId(), "enough");
    await until(bob, sdk.RoomEvent.MyMembership, () => bob.getRoom(rooms[2]).getMyMembership() === "leave");

    // Another connection takes the place of this one: the client is told so, begins anew, and misses nothing.
    const errors = [];
    sync.on(SlidingSyncEvent.Lifecycle, (_state, _response, error) => error && errors.push(error.data?.errcode));
    await bob.slidingSync({ lists: {}, timeout: 0 });
    sync.resend();
    await alice.sendTextMessage(roomId, "still there?");
    await text(bob, roomId, "still there?");
    assert.deepEqual(errors, ["M_UNKNOWN_POS"]);
});
