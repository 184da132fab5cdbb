// People with matrix-js-sdk clients, as Element makes them, and what the scripts need to follow a conversation.

import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import * as sdk from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";

export const PASSWORD = "a long pass phrase";
const PATIENCE_MS = 30_000;
const url = process.argv[2];
const people = [];

globalThis.crypto ??= webcrypto;

// What the library says is shown only when the script fails.
const said = [];
for (const level of ["trace", "debug", "info", "warn", "error"]) {
    const say = (...parts) => said.push(`${level} ${parts.map(String).join(" ").split("\n")[0].slice(0, 500)}`);
    logger[level] = say;
    console[level] = say;
}

/** A new account with its first device. */
export async function register(name) {
    return start(await registration(name));
}

/** A new account whose first device uses sliding sync, as `connect(client)` sets it up; `client.connection` is that. */
export async function sliding(name, connect) {
    return start(await registration(name), connect);
}

async function registration(name) {
    const account = sdk.createClient({ baseUrl: url });
    const request = { username: name, password: PASSWORD, initial_device_display_name: `${name}'s first` };
    const { session } = await refused(account.registerRequest(request), 401);
    return account.registerRequest({ ...request, auth: { type: "m.login.dummy", session } });
}

/** One more device of an account. */
export async function logIn(name) {
    const identifier = { type: "m.id.user", user: name };
    const account = sdk.createClient({ baseUrl: url });
    return start(await account.loginRequest({ type: "m.login.password", identifier, password: PASSWORD }));
}

async function start(credentials, connect) {
    const secrets = new Map();
    const client = sdk.createClient({
        baseUrl: url,
        userId: credentials.user_id,
        deviceId: credentials.device_id,
        accessToken: credentials.access_token,
        timelineSupport: true,
        cryptoCallbacks: {
            getSecretStorageKey: async ({ keys }) => {
                const keyId = Object.keys(keys).find((candidate) => secrets.has(candidate));
                return keyId ? [keyId, secrets.get(keyId)] : null;
            },
            cacheSecretStorageKey: (keyId, _info, key) => secrets.set(keyId, key),
        },
        verificationMethods: ["m.sas.v1"],
    });
    client.secrets = secrets;
    people.push(client);
    await client.initRustCrypto({ useIndexedDB: false });
    const options = { initialSyncLimit: 20, threadSupport: true, lazyLoadMembers: true, pollTimeout: 10_000 };
    client.connection = connect?.(client);
    await client.startClient({ ...options, slidingSync: client.connection });
    await until(client, sdk.ClientEvent.Sync, () => client.isInitialSyncComplete());
    return client;
}

/** User-interactive authentication with the password, for a request that the server must not allow without. */
export function withPassword(client) {
    return async (attempt) => {
        const { session, flows } = await refused(attempt(null), 401);
        assert(flows.some(({ stages }) => stages.length === 1 && stages[0] === "m.login.password"), "no password flow");
        const identifier = { type: "m.id.user", user: client.getUserId() };
        return attempt({ type: "m.login.password", session, identifier, password: PASSWORD });
    };
}

/** For a request that the server is to allow at once: an account's first cross-signing keys. */
export const withoutPassword = (attempt) => attempt(null);

/** The body of the error that a request must be answered with. */
export async function refused(promise, status) {
    const error = await promise.then(() => assert.fail(`expected an answer with status ${status}`), (error) => error);
    assert.equal(error.httpStatus, status, String(error));
    return error.data;
}

/** What `find` returns as soon as it is true: it is asked again at every `event` of the emitter, and now and then. */
export async function until(emitter, event, find) {
    const from = new Error(`waited in vain for: ${find}`);
    return new Promise((resolve, reject) => {
        const look = () => {
            try {
                const found = find();
                if (found) finish(resolve, found);
            } catch (error) {
                finish(reject, error);
            }
        };
        const finish = (settle, value) => {
            clearTimeout(deadline);
            clearInterval(again);
            emitter.off(event, look);
            settle(value);
        };
        const deadline = setTimeout(() => finish(reject, from), PATIENCE_MS);
        const again = setInterval(look, 200);
        emitter.on(event, look);
        look();
    });
}

/** Wait for what can only be asked for. */
export async function eventually(check) {
    for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; ) {
        const found = await check();
        if (found) return found;
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.fail(`waited in vain for: ${check}`);
}

/** Whether a client trusts the device of another. */
export async function trusts(client, other) {
    const status = await client.getCrypto().getDeviceVerificationStatus(other.getUserId(), other.getDeviceId());
    return status?.isVerified() ?? false;
}

/** The room once this client is in it. */
export async function inRoom(client, roomId) {
    return until(client, sdk.ClientEvent.Room, () => {
        const room = client.getRoom(roomId);
        return room?.getMyMembership() === "join" && room;
    });
}

export async function invited(client, roomId) {
    return until(client, sdk.ClientEvent.Room, () => client.getRoom(roomId)?.getMyMembership() === "invite");
}

/** An event of a room, decrypted, that fulfils a condition. */
export async function event(client, roomId, matches) {
    return until(client, sdk.ClientEvent.Event, () => {
        const room = client.getRoom(roomId);
        const sets = [room?.getUnfilteredTimelineSet(), ...(room?.getThreads() ?? []).map(({ timelineSet }) => timelineSet)];
        const events = sets.flatMap((set) => set?.getLiveTimeline().getEvents() ?? []);
        return events.find((candidate) => !candidate.isSending() && matches(candidate));
    });
}

export async function text(client, roomId, body) {
    return event(client, roomId, (candidate) => candidate.getContent().body === body);
}

/** Run a script's story; end the process with its outcome. */
export async function play(story) {
    let failed;
    try {
        await story();
    } catch (error) {
        failed = error;
    }
    for (const client of people) client.stopClient();
    if (failed) {
        process.stdout.write(`${said.slice(-100).join("\n")}\n\n${failed.stack}\n`, () => process.exit(1));
    } else {
        process.exit(0);
    }
}
