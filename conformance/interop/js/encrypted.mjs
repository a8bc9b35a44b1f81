// Two people on two servers, each with matrix-js-sdk and its Rust cryptography: they talk in an
// encrypted room, one of them verifies a second device and restores the keys from their backup.
//
//   node encrypted.mjs CLIENT_URL_1 CLIENT_URL_2 SERVER_NAME_1

import { randomBytes } from "node:crypto";

import * as sdk from "matrix-js-sdk";
import {
    CryptoEvent,
    VerificationPhase,
    VerificationRequestEvent,
    VerifierEvent,
} from "matrix-js-sdk/lib/crypto-api/index.js";

import { end, ensure, eventually, quieten, step, until } from "./harness.mjs";

const { ClientEvent, EventType, MatrixEventEvent, RoomEvent, RoomMemberEvent } = sdk;

quieten();
const [oneUrl, otherUrl, oneName] = process.argv.slice(2);

const password = randomBytes(12).toString("hex");
let storageKey;

const alice = await step("registers with keys on the first server", () => register(oneUrl, "alice"));
const bob = await step("registers with keys on the second server", () => register(otherUrl, "bob"));
if (!alice || !bob) {
    end();
}
await step("both start to sync", () => Promise.all([start(alice), start(bob)]));
await step("publishes cross-signing keys and makes a backup", bootstrap);
const roomId = await step("creates an encrypted room and invites", createAndInvite);
if (!roomId) {
    end();
}
await step("the guest joins", join);
await step("the keys of both are known on the other server", keys);
await step("encrypted messages travel both ways", talk);
await step("the keys of the room are backed up", backedUp);
const second = await step("logs in on a second device", secondDevice);
if (second) {
    await step("the second device is verified by the first", verify);
    await step("the second device restores the keys and reads what was said", restore);
    await step("the guest encrypts for the second device too", toBoth);
    second.stopClient();
}
alice.stopClient();
bob.stopClient();
end();

async function register(baseUrl, name) {
    const username = `${name}-${randomBytes(5).toString("hex")}`;
    const anonymous = sdk.createClient({ baseUrl });
    const challenge = await anonymous.registerRequest({ username, password }).catch((error) => error);
    const auth = { type: "m.login.dummy", session: challenge.data.session };
    const account = await anonymous.registerRequest({ username, password, auth });
    return client(baseUrl, account);
}

async function client(baseUrl, account) {
    const made = sdk.createClient({
        baseUrl,
        accessToken: account.access_token,
        userId: account.user_id,
        deviceId: account.device_id,
        disableVoip: true,
        cryptoCallbacks: {
            getSecretStorageKey: async ({ keys }) => [Object.keys(keys)[0], storageKey],
            cacheSecretStorageKey: () => {},
        },
    });
    await made.initRustCrypto({ useIndexedDB: false });
    return made;
}

async function start(client) {
    await client.startClient({ initialSyncLimit: 20 });
    await until(client, [ClientEvent.Sync], "the first sync", () => client.isInitialSyncComplete());
}

async function bootstrap() {
    const crypto = alice.getCrypto();
    await crypto.bootstrapCrossSigning({
        // The first keys ask for no proof.
        authUploadDeviceSigningKeys: (request) => request(null),
    });
    await crypto.bootstrapSecretStorage({
        createSecretStorageKey: async () => {
            const key = await crypto.createRecoveryKeyFromPassphrase();
            storageKey = key.privateKey;
            return key;
        },
        setupNewSecretStorage: true,
        setupNewKeyBackup: true,
    });
    ensure(await crypto.isCrossSigningReady(), "cross-signing is not ready");
    ensure(await crypto.getActiveSessionBackupVersion(), "there is no backup");
}

async function createAndInvite() {
    const created = await alice.createRoom({
        preset: "private_chat",
        invite: [bob.getUserId()],
        initial_state: [
            {
                type: EventType.RoomEncryption,
                state_key: "",
                content: { algorithm: "m.megolm.v1.aes-sha2" },
            },
        ],
    });
    return created.room_id;
}

async function join() {
    await until(bob, [ClientEvent.Room, RoomEvent.MyMembership], "the invitation", () =>
        bob.getRoom(roomId)?.getMyMembership() === "invite");
    await bob.joinRoom(roomId, { viaServers: [oneName] });
    for (const one of [alice, bob]) {
        const events = [RoomMemberEvent.Membership, ClientEvent.Room, RoomEvent.MyMembership];
        await until(one, events, "both in the room", () =>
            one.getRoom(roomId)?.getJoinedMembers().length === 2);
    }
}

/** Waits until the cryptography of one client has found the device of another. */
function knows(one, other) {
    const user = other.getUserId();
    return eventually(`the device of ${user} as ${one.getUserId()}`, async () => {
        const devices = await one.getCrypto().getUserDeviceInfo([user], true);
        return devices.get(user)?.has(other.getDeviceId());
    });
}

async function keys() {
    await knows(alice, bob);
    await knows(bob, alice);
}

/** Waits until a client can read a message. */
async function reads(client, body) {
    const found = () =>
        client.getRoom(roomId)?.getLiveTimeline().getEvents()
            .find((event) => event.isEncrypted() && event.getContent().body === body);
    const events = [RoomEvent.Timeline, MatrixEventEvent.Decrypted];
    return until(client, events, `"${body}"`, found);
}

async function talk() {
    await alice.sendTextMessage(roomId, "a secret of Alice's");
    await reads(bob, "a secret of Alice's");
    await bob.sendTextMessage(roomId, "a secret of Bob's");
    await reads(alice, "a secret of Bob's");
}

async function backedUp() {
    const ask = () =>
        alice.http.authedRequest("GET", "/room_keys/version", undefined, undefined, {
            prefix: "/_matrix/client/v3",
        });
    await eventually("the keys in the backup", async () => (await ask()).count >= 2);
}

async function secondDevice() {
    const login = await sdk.createClient({ baseUrl: oneUrl }).loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user: alice.getUserId() },
        password,
    });
    const made = await client(oneUrl, login);
    await start(made);
    return made;
}

/** Waits until a request for verification is in a phase. */
function phase(request, wanted) {
    return until(request, [VerificationRequestEvent.Change], `phase ${wanted}`, () =>
        request.phase === wanted);
}

function confirm(verifier) {
    verifier.on(VerifierEvent.ShowSas, (sas) => sas.confirm());
    return verifier.verify();
}

async function verify() {
    // A client passes over a request of a device that it has not heard of yet.
    await knows(alice, second);
    await knows(second, alice);
    let received;
    alice.on(CryptoEvent.VerificationRequestReceived, (request) => (received = request));
    const request = await second.getCrypto().requestOwnUserVerification();
    await until(alice, [CryptoEvent.VerificationRequestReceived], "the request", () => received);
    await received.accept();
    await phase(request, VerificationPhase.Ready);
    const verifier = await request.startVerification("m.sas.v1");
    const own = confirm(verifier);
    await until(received, [VerificationRequestEvent.Change], "a verifier", () => received.verifier);
    await Promise.all([own, confirm(received.verifier)]);
    await phase(request, VerificationPhase.Done);
    await eventually("the signature on the second device", async () => {
        const device = [alice.getUserId(), second.getDeviceId()];
        const status = await alice.getCrypto().getDeviceVerificationStatus(...device);
        return status?.crossSigningVerified;
    });
}

async function restore() {
    const crypto = second.getCrypto();
    await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    const restored = await crypto.restoreKeyBackup();
    ensure(restored.total >= 2, `${restored.imported} of ${restored.total} keys are restored`);
    await reads(second, "a secret of Alice's");
    await reads(second, "a secret of Bob's");
}

async function toBoth() {
    await knows(bob, second);
    await bob.sendTextMessage(roomId, "for all devices");
    await reads(alice, "for all devices");
    await reads(second, "for all devices");
}
