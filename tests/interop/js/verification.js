// Two people, and two devices of one, compare emoji and trust each other from then on.

import assert from "node:assert/strict";
import * as sdk from "matrix-js-sdk";
import { CryptoEvent, VerificationPhase, VerificationRequestEvent, VerifierEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { eventually, inRoom, invited, logIn, play, register, trusts, until, withoutPassword } from "./people.js";

const ENCRYPTION = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };

play(async () => {
    const [alice, bob] = await Promise.all([register("sas-alice"), register("sas-bob")]);
    for (const client of [alice, bob]) {
        await client.getCrypto().bootstrapCrossSigning({ authUploadDeviceSigningKeys: withoutPassword });
    }
    const { room_id: roomId } = await alice.createRoom({
        is_direct: true,
        preset: "trusted_private_chat",
        invite: [bob.getUserId()],
        initial_state: [ENCRYPTION],
    });
    await invited(bob, roomId);
    await bob.joinRoom(roomId);
    await Promise.all([inRoom(alice, roomId), inRoom(bob, roomId)]);
    await until(alice, sdk.RoomStateEvent.Members, () => alice.getRoom(roomId).getMember(bob.getUserId())?.membership === "join");
    for (const [client, other] of [[alice, bob], [bob, alice]]) {
        await client.getCrypto().getUserDeviceInfo([other.getUserId()], true);
        assert(!(await client.getCrypto().getUserVerificationStatus(other.getUserId())).isVerified());
    }

    // Between two people: by messages in the room.
    const asked = nextRequest(bob);
    const asking = await alice.getCrypto().requestVerificationDM(bob.getUserId(), roomId);
    await compareEmoji(asking, await asked);
    for (const [client, other] of [[alice, bob], [bob, alice]]) {
        const found = () => client.getCrypto().getUserVerificationStatus(other.getUserId());
        await eventually(async () => (await found()).isCrossSigningVerified());
    }

    // Between two devices of one person: by messages to the devices.
    const phone = await logIn("sas-bob");
    const told = nextRequest(bob);
    const request = await phone.getCrypto().requestOwnUserVerification();
    await compareEmoji(request, await told);
    await eventually(() => trusts(bob, phone));
    // The private keys have come along, shared as secrets, and Alice trusts the new device through Bob's own signature.
    await eventually(() => phone.getCrypto().isCrossSigningReady());
    await eventually(() => trusts(alice, phone));
});

function nextRequest(client) {
    return new Promise((resolve) => client.once(CryptoEvent.VerificationRequestReceived, resolve));
}

async function compareEmoji(asking, asked) {
    await asked.accept();
    await until(asking, VerificationRequestEvent.Change, () => asking.phase === VerificationPhase.Ready);
    const first = await asking.startVerification("m.sas.v1");
    const second = await until(asked, VerificationRequestEvent.Change, () => asked.verifier);
    const shown = [first, second].map((verifier) => new Promise((resolve) => verifier.once(VerifierEvent.ShowSas, resolve)));
    const finished = [first, second].map((verifier) => verifier.verify());
    const [mine, theirs] = await Promise.all(shown);
    assert.equal(mine.sas.emoji.length, 7);
    assert.deepEqual(mine.sas.emoji, theirs.sas.emoji);
    await Promise.all([mine.confirm(), theirs.confirm(), ...finished]);
    for (const request of [asking, asked]) {
        await until(request, VerificationRequestEvent.Change, () => request.phase === VerificationPhase.Done);
    }
}
