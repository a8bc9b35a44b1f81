"""Two people on two servers, each with matrix-nio: they meet in a room and use it.

    python nio_story.py CLIENT_URL_1 CLIENT_URL_2 SERVER_NAME_1
"""

import asyncio
import secrets
import sys

import nio

import harness
from harness import Story, ensure

EARLIER_MESSAGES = 45
POLL_MILLISECONDS = 2_000


def good(response, kind):
    """Gives back a response of the library if it is of the good kind."""
    ensure(isinstance(response, kind), f"the server answered {response}")
    return response


async def until(client, what, look):
    """Syncs until `look` finds something and gives it back."""

    async def sync():
        response = await client.sync(timeout=POLL_MILLISECONDS)
        if hasattr(response, "next_batch"):
            await client.run_response_callbacks([response])
        else:
            await asyncio.sleep(0.2)

    return await harness.until(what, look, sync)


class Person:
    """A client that remembers the events which its syncs brought."""

    def __init__(self, url, name):
        self.user = f"{name}-{secrets.token_hex(5)}"
        self.password = secrets.token_hex(12)
        self.client = nio.AsyncClient(url, self.user)
        self.events = {}
        self.receipts = []
        self.typing = []
        self.left = set()
        self.client.add_response_callback(self._keep_left, nio.SyncResponse)
        self.client.add_event_callback(self._keep_event, nio.Event)
        self.client.add_ephemeral_callback(self._keep_receipt, nio.ReceiptEvent)
        self.client.add_ephemeral_callback(self._keep_typing, nio.TypingNoticeEvent)

    @property
    def id(self):
        return self.client.user_id

    async def _keep_event(self, room, event):
        self.events.setdefault(event.event_id, event)

    async def _keep_left(self, response):
        self.left.update(response.rooms.leave)

    async def _keep_receipt(self, room, event):
        self.receipts.extend(event.receipts)

    async def _keep_typing(self, room, event):
        self.typing = event.users

    async def sees(self, event_id):
        """Waits for the event with this id."""
        return await until(self.client, f"event {event_id}", lambda: self.events.get(event_id))

    async def say(self, room, content):
        """Sends a message event and gives back its id."""
        response = await self.client.room_send(room, "m.room.message", content)
        return good(response, nio.RoomSendResponse).event_id


def text(body):
    """The content of a plain message."""
    return {"msgtype": "m.text", "body": body}


async def register(person):
    client = person.client
    good(await client.register(person.user, person.password), nio.RegisterResponse)
    # Log in once more: most programs come back with a password.
    good(await client.login(person.password, device_name="a device"), nio.LoginResponse)
    good(await client.sync(), nio.SyncResponse)


async def create(alice, bob):
    response = await alice.client.room_create(
        name="a room of the tests",
        preset=nio.RoomPreset.private_chat,
        invite=[bob.id],
    )
    room = good(response, nio.RoomCreateResponse).room_id
    for number in range(EARLIER_MESSAGES):
        await alice.say(room, text(f"earlier {number}"))
    return room


async def join(alice, bob, room):
    await until(bob.client, "the invitation", lambda: room in bob.client.invited_rooms)
    good(await bob.client.join(room), nio.JoinResponse)
    await until(bob.client, "the room", lambda: room in bob.client.rooms)

    def arrived():
        known = alice.client.rooms.get(room)
        return known is not None and bob.id in known.users

    await until(alice.client, "the guest", arrived)


async def talk(alice, bob, room):
    hello = await bob.sees(await alice.say(room, text("hello, Bob")))
    ensure(hello.body == "hello, Bob", f"the guest reads {hello.body}")
    reply = await alice.sees(await bob.say(room, text("hello, Alice")))
    ensure(reply.sender == bob.id, f"the sender is {reply.sender}")


async def paginate(bob, room):
    found = []
    start = bob.client.next_batch
    for _ in range(20):
        page = await bob.client.room_messages(room, start, limit=20)
        page = good(page, nio.RoomMessagesResponse)
        found.extend(event.body for event in page.chunk if isinstance(event, nio.RoomMessageText))
        if page.end is None or not page.chunk:
            break
        start = page.end
    earlier = [body for body in reversed(found) if body.startswith("earlier ")]
    wanted = [f"earlier {number}" for number in range(EARLIER_MESSAGES)]
    ensure(earlier == wanted, f"the guest's history is {earlier}")


async def edit(alice, bob, room):
    original = await alice.say(room, text("with a tpyo"))
    replacement = await alice.say(
        room,
        text("* with a typo")
        | {
            "m.new_content": text("with a typo"),
            "m.relates_to": {"rel_type": "m.replace", "event_id": original},
        },
    )
    seen = await bob.sees(replacement)
    content = seen.source["content"]
    ensure(content["m.new_content"]["body"] == "with a typo", f"the edit is {content}")
    ensure(content["m.relates_to"]["event_id"] == original, f"the edit is {content}")


async def react(alice, bob, room):
    message = await alice.say(room, text("what do you say?"))
    await bob.sees(message)
    relation = {"rel_type": "m.annotation", "event_id": message, "key": "👍"}
    response = await bob.client.room_send(room, "m.reaction", {"m.relates_to": relation})
    reaction = await alice.sees(good(response, nio.RoomSendResponse).event_id)
    ensure(isinstance(reaction, nio.ReactionEvent), f"the reaction is {reaction}")
    ensure((reaction.reacts_to, reaction.key) == (message, "👍"), f"the reaction is {reaction}")


async def redact(alice, bob, room):
    message = await alice.say(room, text("better not said"))
    await bob.sees(message)
    response = await alice.client.room_redact(room, message, reason="second thoughts")
    redaction = await bob.sees(good(response, nio.RoomRedactResponse).event_id)
    ensure(redaction.redacts == message, f"the redaction is {redaction}")
    response = await bob.client.room_get_event(room, message)
    event = good(response, nio.RoomGetEventResponse).event
    ensure(isinstance(event, nio.RedactedEvent), f"the second server gives {event}")


async def receipt(alice, bob, room):
    message = await alice.say(room, text("please read"))
    await bob.sees(message)
    response = await bob.client.update_receipt_marker(room, message)
    good(response, nio.UpdateReceiptMarkerResponse)

    def arrived():
        return any(r.event_id == message and r.user_id == bob.id for r in alice.receipts)

    await until(alice.client, "the receipt", arrived)
    response = await bob.client.room_read_markers(room, message, message)
    good(response, nio.RoomReadMarkersResponse)


async def typing(alice, bob, room):
    good(await bob.client.room_typing(room, True, timeout=30_000), nio.RoomTypingResponse)
    await until(alice.client, "typing", lambda: bob.id in alice.typing)
    good(await bob.client.room_typing(room, False), nio.RoomTypingResponse)
    await until(alice.client, "the end of typing", lambda: bob.id not in alice.typing)


async def state(alice, bob, room):
    content = {"topic": "what this is about"}
    response = await alice.client.room_put_state(room, "m.room.topic", content)
    event = await bob.sees(good(response, nio.RoomPutStateResponse).event_id)
    ensure(event.topic == "what this is about", f"the topic is {event}")
    response = await bob.client.room_get_state_event(room, "m.room.topic")
    current = good(response, nio.RoomGetStateEventResponse).content
    ensure(current["topic"] == "what this is about", f"the state is {current}")


async def profile(alice, bob):
    good(await bob.client.set_displayname("Bob the guest"), nio.ProfileSetDisplayNameResponse)
    response = await alice.client.get_displayname(bob.id)
    name = good(response, nio.ProfileGetDisplayNameResponse).displayname
    ensure(name == "Bob the guest", f"the profile says {name}")


async def members(alice, bob, room):
    response = await bob.client.joined_members(room)
    found = {member.user_id for member in good(response, nio.JoinedMembersResponse).members}
    ensure(found == {alice.id, bob.id}, f"the members are {found}")


async def kick_and_ban(alice, bob, room):
    good(await alice.client.room_kick(room, bob.id, "for the test"), nio.RoomKickResponse)
    await until(bob.client, "the kick", lambda: room in bob.left)
    good(await alice.client.room_ban(room, bob.id, "for the test"), nio.RoomBanResponse)
    response = await bob.client.join(room)
    ensure(isinstance(response, nio.JoinError), f"joined in spite of the ban: {response}")
    good(await alice.client.room_unban(room, bob.id), nio.RoomUnbanResponse)


async def logout(person):
    token = person.client.access_token
    good(await person.client.logout(), nio.LogoutResponse)
    person.client.access_token = token
    response = await person.client.whoami()
    ensure(isinstance(response, nio.WhoamiError), f"the old token is answered with {response}")
    ensure(response.status_code == "M_UNKNOWN_TOKEN", f"the refusal is {response}")


async def play(one, other, server):
    story = Story()
    alice, bob = Person(one, "alice"), Person(other, "bob")
    await story.step("registers on the first server", register(alice))
    await story.step("registers on the second server", register(bob))
    room = await story.step("creates a room and invites", create(alice, bob))
    if room is not None:
        await story.step("the guest joins", join(alice, bob, room))
        await story.step("messages travel both ways", talk(alice, bob, room))
        await story.step("history is paged back to the beginning", paginate(bob, room))
        await story.step("an edit arrives", edit(alice, bob, room))
        await story.step("a reaction arrives", react(alice, bob, room))
        await story.step("a redaction empties the message", redact(alice, bob, room))
        await story.step("a read receipt arrives", receipt(alice, bob, room))
        await story.step("typing arrives and ends", typing(alice, bob, room))
        await story.step("a topic arrives", state(alice, bob, room))
        await story.step("a display name is seen afar", profile(alice, bob))
        await story.step("both are listed as members", members(alice, bob, room))
        await story.step("the guest is kicked and banned", kick_and_ban(alice, bob, room))
    await story.step("a logged out token is refused", logout(bob))
    await alice.client.close()
    await bob.client.close()
    return story.failed


if __name__ == "__main__":
    sys.exit(1 if asyncio.run(play(*sys.argv[1:4])) else 0)
