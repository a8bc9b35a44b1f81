// Two people on two servers, each with matrix-js-sdk: they meet in a room and use it.
//
//   node story.mjs CLIENT_URL_1 CLIENT_URL_2 SERVER_NAME_1

import { randomBytes } from "node:crypto";

import * as sdk from "matrix-js-sdk";

import { end, ensure, quieten, step, until } from "./harness.mjs";

const { ClientEvent, EventType, MatrixEventEvent, RelationType, RoomEvent, RoomMemberEvent } = sdk;
const { RoomStateEvent } = sdk;

/** How many messages are there before the guest comes: more than one page of history. */
const EARLIER_MESSAGES = 45;
/** How many messages the first sync shows, so that there is something left to fetch. */
const FIRST_SIGHT = 5;

quieten();
const [oneUrl, otherUrl, oneName] = process.argv.slice(2);

const alice = await step("registers on the first server", () => register(oneUrl, "alice"));
const bob = await step("registers on the second server", () => register(otherUrl, "bob"));
if (!alice || !bob) {
    end();
}
await step("both start to sync", () => Promise.all([start(alice), start(bob)]));

const roomId = await step("creates a room and invites", createAndInvite);
if (!roomId) {
    end();
}
await step("fills the room before the guest comes", fill);
await step("the guest sees the invitation and joins", join);
await step("messages travel both ways", talk);
await step("history is paged back to the beginning", paginate);
await step("an edit replaces the message", edit);
await step("a reaction is counted", react);
await step("a redaction empties the message", redact);
await step("a threaded reply is found in its thread", thread);
await step("a read receipt arrives", receipt);
await step("typing arrives and ends", typing);
await step("a room name and a topic arrive", nameAndTopic);
await step("a new display name arrives", displayName);
await step("the room is found by its alias", alias);
await step("the guest is kicked", kick);
await step("the guest leaves and is gone from the list", leave);
await step("a logged out token is refused", logout);
alice.stopClient();
bob.stopClient();
end();

/** Registers a new account with the dummy stage and gives back a client that is logged in. */
async function register(baseUrl, name) {
    const username = `${name}-${randomBytes(5).toString("hex")}`;
    const password = randomBytes(12).toString("hex");
    const anonymous = sdk.createClient({ baseUrl });
    const challenge = await anonymous.registerRequest({ username, password }).then(
        () => {
            throw new Error("registered without user-interactive authentication");
        },
        (error) => error,
    );
    ensure(challenge.httpStatus === 401, `no challenge: ${challenge}`);
    const auth = { type: "m.login.dummy", session: challenge.data.session };
    await anonymous.registerRequest({ username, password, auth });
    // Log in once more: most clients come back with a password.
    const login = await anonymous.loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user: username },
        password,
        initial_device_display_name: "a device of the tests",
    });
    return sdk.createClient({
        baseUrl,
        accessToken: login.access_token,
        userId: login.user_id,
        deviceId: login.device_id,
        disableVoip: true,
    });
}

async function start(client) {
    await client.startClient({
        initialSyncLimit: FIRST_SIGHT,
        lazyLoadMembers: true,
        threadSupport: true,
    });
    await until(client, [ClientEvent.Sync], "the first sync", () => client.isInitialSyncComplete());
}

async function createAndInvite() {
    const created = await alice.createRoom({
        name: "a room of the tests",
        preset: "private_chat",
        invite: [bob.getUserId()],
        initial_state: [
            {
                type: EventType.RoomHistoryVisibility,
                state_key: "",
                content: { history_visibility: "shared" },
            },
        ],
    });
    return created.room_id;
}

async function fill() {
    for (let number = 0; number < EARLIER_MESSAGES; number += 1) {
        await alice.sendTextMessage(roomId, `earlier ${number}`);
    }
}

async function join() {
    const room = await until(bob, [ClientEvent.Room, RoomEvent.MyMembership], "the invitation", () => {
        const candidate = bob.getRoom(roomId);
        return candidate?.getMyMembership() === "invite" ? candidate : undefined;
    });
    ensure(room.name === "a room of the tests", `the invitation shows the name ${room.name}`);
    await bob.joinRoom(roomId, { viaServers: [oneName] });
    await until(bob, [RoomEvent.MyMembership], "the own membership", () => {
        return bob.getRoom(roomId)?.getMyMembership() === "join";
    });
    await until(alice, [RoomMemberEvent.Membership, RoomStateEvent.Members], "the guest", () => {
        return alice.getRoom(roomId)?.getMember(bob.getUserId())?.membership === "join";
    });
}

async function talk() {
    const { event_id: hello } = await alice.sendTextMessage(roomId, "hello, Bob");
    const seen = await eventAt(bob, hello);
    ensure(seen.getContent().body === "hello, Bob", `the guest sees ${seen.getContent().body}`);
    const { event_id: reply } = await bob.sendTextMessage(roomId, "hello, Alice");
    const answer = await eventAt(alice, reply);
    ensure(answer.getSender() === bob.getUserId(), `the sender is ${answer.getSender()}`);
}

async function paginate() {
    const room = bob.getRoom(roomId);
    const texts = () =>
        room
            .getLiveTimeline()
            .getEvents()
            .map((event) => event.getContent().body)
            .filter((body) => body?.startsWith("earlier "));
    for (let page = 0; page < 20 && texts().length < EARLIER_MESSAGES; page += 1) {
        await bob.scrollback(room, 20);
    }
    const wanted = Array.from({ length: EARLIER_MESSAGES }, (_, number) => `earlier ${number}`);
    ensure(texts().join() === wanted.join(), `the guest's history is ${texts().join()}`);
}

async function edit() {
    const { event_id: id } = await alice.sendTextMessage(roomId, "with a tpyo");
    await eventAt(bob, id);
    await alice.sendEvent(roomId, EventType.RoomMessage, {
        "msgtype": "m.text",
        "body": "* with a typo",
        "m.new_content": { msgtype: "m.text", body: "with a typo" },
        "m.relates_to": { rel_type: RelationType.Replace, event_id: id },
    });
    const event = await until(bob, [MatrixEventEvent.Replaced, RoomEvent.Timeline], "the edit", () => {
        const original = bob.getRoom(roomId).findEventById(id);
        return original?.replacingEvent() ? original : undefined;
    });
    ensure(event.getContent().body === "with a typo", `the text is ${event.getContent().body}`);
}

async function react() {
    const { event_id: id } = await alice.sendTextMessage(roomId, "what do you say?");
    await eventAt(bob, id);
    await bob.sendEvent(roomId, EventType.Reaction, {
        "m.relates_to": { rel_type: RelationType.Annotation, event_id: id, key: "👍" },
    });
    await until(alice, [RoomEvent.Timeline], "the reaction", () => {
        const { relations } = alice.getRoom(roomId);
        const kinds = [id, RelationType.Annotation, EventType.Reaction];
        const found = relations.getChildEventsForEvent(...kinds)?.getSortedAnnotationsByKey() ?? [];
        return found.some(([key, events]) => key === "👍" && events.size === 1);
    });
}

async function redact() {
    const { event_id: id } = await alice.sendTextMessage(roomId, "better not said");
    await eventAt(bob, id);
    await alice.redactEvent(roomId, id, undefined, { reason: "second thoughts" });
    const event = await until(bob, [RoomEvent.Redaction, RoomEvent.Timeline], "the redaction", () => {
        const original = bob.getRoom(roomId).findEventById(id);
        return original?.isRedacted() ? original : undefined;
    });
    ensure(event.getContent().body === undefined, "the redacted text is still there");
    const fetched = await bob.fetchRoomEvent(roomId, id);
    ensure(fetched.content.body === undefined, "the second server still gives the text");
}

async function thread() {
    const { event_id: root } = await alice.sendTextMessage(roomId, "the root of a thread");
    await eventAt(bob, root);
    const { event_id: reply } = await bob.sendEvent(roomId, EventType.RoomMessage, {
        "msgtype": "m.text",
        "body": "in the thread",
        "m.relates_to": { rel_type: "m.thread", event_id: root },
    });
    await until(alice, [RoomEvent.Timeline, "Thread.new", "Thread.update"], "the thread", () => {
        return alice.getRoom(roomId).getThread(root)?.findEventById(reply);
    });
    const { events } = await alice.relations(roomId, root, "m.thread", EventType.RoomMessage);
    const found = events.map((event) => event.getId());
    ensure(found.includes(reply), `the server's thread holds ${found}`);
}

async function receipt() {
    const { event_id: id } = await alice.sendTextMessage(roomId, "please read");
    const seen = await eventAt(bob, id);
    await bob.sendReadReceipt(seen);
    await until(alice, [RoomEvent.Receipt], "the receipt", () => {
        const read = alice.getRoom(roomId).getEventReadUpTo(bob.getUserId(), true);
        return read === id;
    });
}

async function typing() {
    const isTyping = () => alice.getRoom(roomId).getMember(bob.getUserId())?.typing === true;
    await bob.sendTyping(roomId, true, 30_000);
    await until(alice, [RoomMemberEvent.Typing], "typing", isTyping);
    await bob.sendTyping(roomId, false, 0);
    await until(alice, [RoomMemberEvent.Typing], "the end of typing", () => !isTyping());
}

async function nameAndTopic() {
    await alice.setRoomName(roomId, "a better name");
    await alice.setRoomTopic(roomId, "what this is about");
    await until(bob, [RoomEvent.Name, RoomStateEvent.Events], "name and topic", () => {
        const room = bob.getRoom(roomId);
        const topic = room.currentState.getStateEvents(EventType.RoomTopic, "");
        return room.name === "a better name" && topic?.getContent().topic === "what this is about";
    });
}

async function displayName() {
    await bob.setDisplayName("Bob the guest");
    await until(alice, [RoomMemberEvent.Name, RoomStateEvent.Members], "the display name", () => {
        return alice.getRoom(roomId).getMember(bob.getUserId())?.name === "Bob the guest";
    });
    const profile = await alice.getProfileInfo(bob.getUserId());
    ensure(profile.displayname === "Bob the guest", `the profile says ${profile.displayname}`);
}

async function alias() {
    const name = `#story-${randomBytes(5).toString("hex")}:${oneName}`;
    await alice.createAlias(name, roomId);
    const found = await bob.getRoomIdForAlias(name);
    ensure(found.room_id === roomId, `the alias leads to ${found.room_id}`);
    await alice.deleteAlias(name);
}

async function kick() {
    await alice.kick(roomId, bob.getUserId(), "for the test");
    await until(bob, [RoomEvent.MyMembership], "the kick", () => {
        return bob.getRoom(roomId)?.getMyMembership() === "leave";
    });
}

async function leave() {
    await alice.invite(roomId, bob.getUserId());
    await until(bob, [RoomEvent.MyMembership, ClientEvent.Room], "another invitation", () => {
        return bob.getRoom(roomId)?.getMyMembership() === "invite";
    });
    await bob.joinRoom(roomId, { viaServers: [oneName] });
    await bob.leave(roomId);
    await until(alice, [RoomMemberEvent.Membership, RoomStateEvent.Members], "the leave", () => {
        return alice.getRoom(roomId).getMember(bob.getUserId())?.membership === "leave";
    });
    const { joined_rooms: joined } = await bob.getJoinedRooms();
    ensure(!joined.includes(roomId), "the room that was left is still among the joined ones");
}

async function logout() {
    const { baseUrl } = bob;
    const accessToken = bob.getAccessToken();
    await bob.logout(true);
    const old = sdk.createClient({ baseUrl, accessToken });
    const error = await old.whoami().then(
        () => undefined,
        (refusal) => refusal,
    );
    ensure(error?.errcode === "M_UNKNOWN_TOKEN", `the old token is answered with ${error}`);
}

/** Waits until the client has this event in the room's timeline. */
function eventAt(client, id) {
    return until(client, [RoomEvent.Timeline, ClientEvent.Event], `event ${id}`, () => {
        return client.getRoom(roomId)?.findEventById(id);
    });
}
