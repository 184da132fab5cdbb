// Cross-signing, secret storage and key backup are set up on one device and brought to a second.

import assert from "node:assert/strict";
import * as sdk from "matrix-js-sdk";
import { event, eventually, inRoom, invited, logIn, play, refused, register, text, trusts, until, withoutPassword, withPassword } from "./people.js";

const ENCRYPTION = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };

play(async () => {
    const alice = await register("enc-alice");
    const crypto = alice.getCrypto();

    // A new account, as Element sets it up.
    await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: withoutPassword });
    const recoveryKey = await crypto.createRecoveryKeyFromPassphrase("a recovery phrase");
    await crypto.bootstrapSecretStorage({ createSecretStorageKey: async () => recoveryKey, setupNewKeyBackup: true });
    assert(await crypto.isCrossSigningReady());
    assert(await crypto.isSecretStorageReady());
    const version = await crypto.getActiveSessionBackupVersion();
    assert(version);

    // An encrypted room for two.
    const bob = await register("enc-bob");
    const { room_id: roomId } = await alice.createRoom({ name: "Vault", initial_state: [ENCRYPTION] });
    await alice.invite(roomId, bob.getUserId());
    await invited(bob, roomId);
    await bob.joinRoom(roomId);
    await Promise.all([inRoom(alice, roomId), inRoom(bob, roomId)]);
    await until(alice, sdk.RoomStateEvent.Members, () => alice.getRoom(roomId).getMember(bob.getUserId())?.membership === "join");
    assert(await bob.getCrypto().isEncryptionEnabledInRoom(roomId));
    await alice.sendTextMessage(roomId, "from alice");
    const received = await text(bob, roomId, "from alice");
    assert(received.isEncrypted() && !received.isDecryptionFailure());
    await bob.sendTextMessage(roomId, "from bob");
    await text(alice, roomId, "from bob");
    await eventually(async () => (await alice.http.authedRequest("GET", `/room_keys/version/${version}`)).count === 2);

    // A second device reads the old messages with nothing but the password and the recovery key.
    const phone = await logIn("enc-alice");
    await inRoom(phone, roomId);
    await event(phone, roomId, (candidate) => candidate.isDecryptionFailure());
    const keyId = await phone.secretStorage.getDefaultKeyId();
    phone.secrets.set(keyId, recoveryKey.privateKey);
    assert(await phone.getCrypto().userHasCrossSigningKeys(undefined, true));
    await phone.getCrypto().bootstrapCrossSigning({});
    await phone.getCrypto().loadSessionBackupPrivateKeyFromSecretStorage();
    assert((await phone.getCrypto().checkKeyBackupAndEnable()).trustInfo.trusted);
    const restored = await phone.getCrypto().restoreKeyBackup();
    assert.deepEqual([restored.imported, restored.total], [2, 2]);
    for (const body of ["from alice", "from bob"]) await text(phone, roomId, body);

    // The first device, and everybody who trusts Alice, now trusts the second.
    await eventually(() => trusts(alice, phone));
    await bob.sendTextMessage(roomId, "to all of you");
    await Promise.all([text(alice, roomId, "to all of you"), text(phone, roomId, "to all of you")]);

    // Logging out ends the device: it cannot be asked for any more, and its token is dead.
    const token = phone.getAccessToken();
    await phone.logout(true);
    const late = sdk.createClient({ baseUrl: phone.getHomeserverUrl(), accessToken: token });
    assert.equal((await refused(late.whoami(), 401)).errcode, "M_UNKNOWN_TOKEN");
    const { devices } = await alice.getDevices();
    assert.deepEqual(devices.map(({ device_id }) => device_id), [alice.getDeviceId()]);

    // Everything anew, as after losing all keys.
    await crypto.resetEncryption(withPassword(alice));
    assert.notEqual(await crypto.getActiveSessionBackupVersion(), version);
});
