// Two people on two servers, one of them with the sliding sync of matrix-js-sdk: she looks at a part of
// her rooms, sees more as she asks for more, and talks in an encrypted room.
//
//   node sliding.mjs CLIENT_URL_1 CLIENT_URL_2 SERVER_NAME_1

import { randomBytes } from "node:crypto";

import * as sdk from "matrix-js-sdk";
import { SlidingSync } from "matrix-js-sdk/lib/sliding-sync.js";

import { end, ensure, quieten, step, until } from "./harness.mjs";

const { ClientEvent, EventType, MatrixEventEvent, RoomEvent, RoomMemberEvent } = sdk;
const { RoomStateEvent } = sdk;

const ROOMS = 4;
const POLL_MS = 20_000;

quieten();
const [oneUrl, otherUrl, oneName] = process.argv.slice(2);
const names = new Map();

const alice = await step("registers with keys on the first server", () => register(oneUrl, "alice"));
const bob = await step("registers with keys on the second server", () => register(otherUrl, "bob"));
if (!alice || !bob) {
    end();
}
await step("has some rooms", createRooms);
const sliding = await step("starts to look at two of them", start);
if (!sliding) {
    end();
}
await step("sees the two that were active last", twoAtFirst);
await step("sees all of them when the window grows", growing);
await step("sees more of a room that is opened", open);
const roomId = await step("is invited to an encrypted room", invited);
if (!roomId) {
    end();
}
await step("joins it", join);
await step("encrypted messages travel both ways", talk);
await step("typing arrives and ends", typing);
await step("a read receipt arrives", receipt);
await step("account data arrives", accountData);
await step("a new room name arrives", rename);
await step("begins anew after the connection is lost", anew);
sliding.stop();
alice.stopClient();
bob.stopClient();
end();

async function register(baseUrl, name) {
    const username = `${name}-${randomBytes(5).toString("hex")}`;
    const password = randomBytes(12).toString("hex");
    const anonymous = sdk.createClient({ baseUrl });
    const challenge = await anonymous.registerRequest({ username, password }).catch((error) => error);
    const auth = { type: "m.login.dummy", session: challenge.data.session };
    const account = await anonymous.registerRequest({ username, password, auth });
    const made = sdk.createClient({
        baseUrl,
        accessToken: account.access_token,
        userId: account.user_id,
        deviceId: account.device_id,
        disableVoip: true,
    });
    await made.initRustCrypto({ useIndexedDB: false });
    return made;
}

async function createRooms() {
    for (let number = 0; number < ROOMS; number += 1) {
        const { room_id } = await alice.createRoom({ name: `Room ${number}` });
        names.set(number, room_id);
        for (const body of ["a", "b", "c"]) {
            await alice.sendTextMessage(room_id, body);
        }
    }
}

function config(limit) {
    return {
        timeline_limit: limit,
        required_state: [
            [EventType.RoomCreate, ""],
            [EventType.RoomName, ""],
            [EventType.RoomEncryption, ""],
            [EventType.RoomPowerLevels, ""],
            [EventType.RoomMember, "*"],
        ],
    };
}

async function start() {
    const list = { ...config(1), ranges: [[0, 1]], filters: {} };
    const made = new SlidingSync(oneUrl, new Map([["all", list]]), config(3), alice, POLL_MS);
    await alice.startClient({ slidingSync: made });
    // The promise ends with the loop.
    await until(alice, [ClientEvent.Sync], "the first sync", () => alice.isInitialSyncComplete());
    await bob.startClient({ initialSyncLimit: 20 });
    await until(bob, [ClientEvent.Sync], "the first sync", () => bob.isInitialSyncComplete());
    return made;
}

async function twoAtFirst() {
    const seen = () => alice.getRooms().map((room) => room.roomId).sort();
    await until(alice, [ClientEvent.Room, ClientEvent.Sync], "two rooms", () => seen().length >= 2);
    const wanted = [names.get(ROOMS - 1), names.get(ROOMS - 2)].sort();
    ensure(seen().join() === wanted.join(), `${seen()} instead of ${wanted}`);
    ensure(sliding.getListData("all").joinedCount === ROOMS, "the count is another one");
    const room = alice.getRoom(wanted[0]);
    ensure(room.name.startsWith("Room "), `it is named ${room.name}`);
    ensure(room.getLiveTimeline().getEvents().length === 1, "one event is wanted");
}

async function growing() {
    sliding.setListRanges("all", [[0, ROOMS + 4]]);
    await until(alice, [ClientEvent.Room, ClientEvent.Sync], "all rooms", () =>
        alice.getRooms().length === ROOMS);
}

async function open() {
    const room = alice.getRoom(names.get(0));
    sliding.modifyRoomSubscriptions(new Set([room.roomId]));
    await until(alice, [RoomEvent.Timeline, ClientEvent.Sync], "the timeline", () =>
        room.getLiveTimeline().getEvents().filter((event) => event.getContent().body).length === 3);
    const bodies = room.getLiveTimeline().getEvents().map((event) => event.getContent().body);
    ensure(bodies.filter(Boolean).join("") === "abc", `${bodies} is the order`);
    sliding.modifyRoomSubscriptions(new Set());
}

async function invited() {
    const content = { algorithm: "m.megolm.v1.aes-sha2" };
    const created = await bob.createRoom({
        preset: "private_chat",
        name: "Encrypted",
        invite: [alice.getUserId()],
        initial_state: [{ type: EventType.RoomEncryption, state_key: "", content }],
    });
    await until(alice, [ClientEvent.Room, RoomEvent.MyMembership, ClientEvent.Sync], "the invitation", () =>
        alice.getRoom(created.room_id)?.getMyMembership() === "invite");
    return created.room_id;
}

async function join() {
    const via = bob.getDomain();
    await alice.joinRoom(roomId, { viaServers: [via] });
    for (const one of [alice, bob]) {
        const events = [RoomMemberEvent.Membership, RoomStateEvent.Members, ClientEvent.Sync];
        await until(one, events, "both in the room", () =>
            one.getRoom(roomId)?.getJoinedMembers().length === 2);
    }
}

/** Waits until a client can read a message. */
async function reads(client, body) {
    const found = () =>
        client.getRoom(roomId)?.getLiveTimeline().getEvents()
            .find((event) => event.isEncrypted() && event.getContent().body === body);
    const events = [RoomEvent.Timeline, MatrixEventEvent.Decrypted, ClientEvent.Sync];
    return until(client, events, `"${body}"`, found);
}

async function talk() {
    await bob.sendTextMessage(roomId, "a secret of Bob's");
    await reads(alice, "a secret of Bob's");
    await alice.sendTextMessage(roomId, "a secret of Alice's");
    await reads(bob, "a secret of Alice's");
}

async function typing() {
    const types = () => alice.getRoom(roomId).getMember(bob.getUserId())?.typing;
    await bob.sendTyping(roomId, true, 30_000);
    await until(alice, [RoomMemberEvent.Typing, ClientEvent.Sync], "typing", () => types());
    await bob.sendTyping(roomId, false, 0);
    await until(alice, [RoomMemberEvent.Typing, ClientEvent.Sync], "its end", () => !types());
}

async function receipt() {
    const event = await reads(bob, "a secret of Alice's");
    await bob.sendReadReceipt(event);
    await until(alice, [RoomEvent.Receipt, ClientEvent.Sync], "the receipt", () =>
        alice.getRoom(roomId).hasUserReadEvent(bob.getUserId(), event.getId()));
}

async function accountData() {
    await alice.setAccountData("org.example.starling", { value: 1 });
    await until(alice, [ClientEvent.AccountData, ClientEvent.Sync], "account data", () =>
        alice.getAccountData("org.example.starling")?.getContent().value === 1);
}

async function rename() {
    await bob.setRoomName(roomId, "Renamed");
    await until(alice, [RoomEvent.Name, ClientEvent.Sync], "the name", () =>
        alice.getRoom(roomId).name === "Renamed");
}

/** A server forgets a connection when the client begins another one of the same name. */
async function anew() {
    await alice.http.authedRequest("POST", "/sync", undefined, {}, {
        prefix: "/_matrix/client/unstable/org.matrix.simplified_msc3575",
    });
    sliding.resend();
    await bob.sendTextMessage(roomId, "after the loss");
    await reads(alice, "after the loss");
}
