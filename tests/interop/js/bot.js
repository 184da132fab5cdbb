// A bot on matrix-bot-sdk: it syncs, joins whoever invites it, answers, edits, reacts, keeps state, and uploads.
// The library's encryption is a native module fetched from elsewhere; this bot has none, so it stays out.

import assert from "node:assert/strict";
import Module from "node:module";

const load = Module._load;
Module._load = (name, ...rest) => (name === "@matrix-org/matrix-sdk-crypto-nodejs" ? {} : load(name, ...rest));
const { AutojoinRoomsMixin, LogLevel, LogService, MatrixAuth, MatrixClient, MemoryStorageProvider, RichReply } = (
    await import("matrix-bot-sdk")
).default;

LogService.setLevel(LogLevel.ERROR);
const [url] = process.argv.slice(2);
const suffix = Math.random().toString(36).slice(2, 8);

async function register(name) {
    const registered = await new MatrixAuth(url).passwordRegister(`${name}-${suffix}`, "a long pass phrase");
    return new MatrixClient(url, registered.accessToken, new MemoryStorageProvider());
}

function next(client, name, matches) {
    return new Promise((resolve) => {
        const listener = (roomId, event) => {
            if (!matches(event)) return;
            client.off(name, listener);
            resolve({ roomId, event });
        };
        client.on(name, listener);
    });
}

const bot = await register("bot");
AutojoinRoomsMixin.setupOnClient(bot);
const botId = await bot.getUserId();
bot.on("room.message", async (roomId, event) => {
    if (event.sender === botId || event.content?.msgtype !== "m.text") return;
    if (!event.content.body.startsWith("!echo ")) return;
    await bot.setTyping(roomId, true);
    const text = event.content.body.slice("!echo ".length);
    const reply = RichReply.createFor(roomId, event, text, text);
    reply.msgtype = "m.notice";
    await bot.sendMessage(roomId, reply);
    await bot.sendReadReceipt(roomId, event.event_id);
    await bot.setTyping(roomId, false);
});
await bot.start();

const alice = await register("alice");
await alice.start();
const joined = next(alice, "room.event", (event) => event.state_key === botId && event.content.membership === "join");
const roomId = await alice.createRoom({ preset: "private_chat", name: "Garden", invite: [botId] });
await joined;
assert.deepEqual((await bot.getJoinedRooms()).includes(roomId), true);

const answer = next(alice, "room.message", (event) => event.sender === botId);
const question = await alice.sendText(roomId, "!echo roses");
const { event: echo } = await answer;
assert.equal(echo.content.msgtype, "m.notice");
assert.ok(echo.content.body.endsWith("roses"));
assert.equal(echo.content["m.relates_to"]["m.in_reply_to"].event_id, question);

await bot.unstableApis.addReactionToEvent(roomId, question, "🌹");
const relations = await alice.unstableApis.getRelationsForEvent(roomId, question, "m.annotation");
assert.equal(relations.chunk[0].content["m.relates_to"].key, "🌹");

const mxc = await bot.uploadContent(Buffer.from("petals"), "text/plain", "petals.txt");
// The library's own download asks without a token, which the server grants by a setting only.
const download = `${url}/_matrix/client/v1/media/download/${mxc.slice("mxc://".length)}`;
const downloaded = await fetch(download, { headers: { Authorization: `Bearer ${alice.accessToken}` } });
assert.equal(await downloaded.text(), "petals");

await bot.setAccountData("org.example.bot", { roses: 1 });
assert.deepEqual(await bot.getAccountData("org.example.bot"), { roses: 1 });
await bot.setDisplayName("The gardener");
assert.equal((await alice.getUserProfile(botId)).displayname, "The gardener");
await alice.setUserPowerLevel(botId, roomId, 50);
assert.equal(await bot.userHasPowerLevelFor(botId, roomId, "m.room.topic", true), true);
await bot.sendStateEvent(roomId, "m.room.topic", "", { topic: "roses" });
assert.deepEqual(await alice.getRoomStateEvent(roomId, "m.room.topic", ""), { topic: "roses" });

const gone = next(alice, "room.event", (event) => event.type === "m.room.redaction");
await bot.redactEvent(roomId, echo.event_id);
await gone;
assert.deepEqual((await alice.getEvent(roomId, echo.event_id)).content, {});
await alice.kickUser(botId, roomId, "the season is over");
assert.deepEqual(await bot.getJoinedRooms(), []);
bot.stop();
alice.stop();
process.exit(0);
