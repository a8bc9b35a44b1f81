"""A bridge on mautrix, and a user of the server who meets its users.

    python mautrix_story.py CLIENT_URL SERVER_NAME PORT ID AS_TOKEN HS_TOKEN USER_ID USER_TOKEN

The server knows the bridge by a registration with that ID and those tokens; the bridge listens on PORT
and has `@_ID_…` and `#_ID_…` for itself.
"""

import asyncio
import logging
import sys
import tempfile

from mautrix.appservice import AppService
from mautrix.appservice.state_store import FileASStateStore
from mautrix.client import ClientAPI
from mautrix.types import EventType, Membership, PresenceState, RoomCreatePreset, RoomID, UserID

from harness import Story, ensure, until


# What the library takes for yes.
MADE = {"made": True}


class Bridge:
    """What the bridge is told, and what it makes when it is asked."""

    def __init__(self, url, domain, id, as_token, hs_token):
        self.domain = domain
        self.id = id
        self.events = []
        self.service = AppService(
            server=url,
            domain=domain,
            as_token=as_token,
            hs_token=hs_token,
            bot_localpart=f"{id}bot",
            id=id,
            query_user=self.make_user,
            query_alias=self.make_room,
            state_store=FileASStateStore(tempfile.mktemp(suffix=".json"), binary=False),
            ephemeral_events=True,
        )
        self.service.matrix_event_handler(self.keep)

    def ghost(self, name):
        """One of its users."""
        return self.service.intent.user(UserID(f"@_{self.id}_{name}:{self.domain}"))

    async def keep(self, event):
        self.events.append(event)

    async def make_user(self, user_id):
        await self.service.intent.user(UserID(user_id)).ensure_registered()
        return MADE

    async def make_room(self, alias):
        await self.service.intent.create_room(
            alias_localpart=alias[1:].split(":")[0], preset=RoomCreatePreset.PUBLIC
        )
        return MADE

    async def sees(self, what, is_it):
        """Waits for an event like this."""
        found = lambda: next((it for it in self.events if is_it(it)), None)
        return await until(what, found, lambda: asyncio.sleep(0.05))


async def begin(bridge, port):
    await bridge.service.start("127.0.0.1", port)
    await bridge.service.intent.whoami()
    took = await bridge.service.ping_self("meow")
    ensure(took >= 0, f"the ping took {took}")


async def speak(bridge, alice):
    ghost = bridge.ghost("speaker")
    await ghost.ensure_registered()
    await ghost.set_displayname("Speaker")
    room = await ghost.create_room(preset=RoomCreatePreset.PUBLIC, name="a bridged room")
    await alice.join_room_by_id(room)
    await bridge.sees(
        "the guest", lambda it: it.type == EventType.ROOM_MEMBER and it.state_key == alice.mxid
    )
    sent = await ghost.send_text(room, "from afar", query_params={"ts": 1_234_567})
    event = await alice.get_event(room, sent)
    ensure(event.timestamp == 1_234_567, f"it was sent at {event.timestamp}")
    ensure(event.content.body == "from afar", f"it says {event.content}")
    return room


async def listen(bridge, alice, room):
    sent = await alice.send_text(room, "hello, bridge")
    heard = await bridge.sees("the answer", lambda it: getattr(it, "event_id", None) == sent)
    ensure(heard.content.body == "hello, bridge", f"it says {heard.content}")
    ensure(heard.room_id == room and heard.sender == alice.mxid, f"it is {heard}")
    await alice.set_typing(room, timeout=30_000)
    typing = await bridge.sees("who types", lambda it: it.type == EventType.TYPING)
    ensure(alice.mxid in typing.content.user_ids, f"{typing.content.user_ids} type")
    await alice.send_receipt(room, sent)
    receipt = await bridge.sees("the receipt", lambda it: it.type == EventType.RECEIPT)
    ensure(receipt.room_id == room and sent in receipt.content, f"it is {receipt}")
    await alice.set_presence(PresenceState.ONLINE, status="here")
    await bridge.sees("who is there", lambda it: it.type == EventType.PRESENCE)


async def be_asked(bridge, alice):
    alias = f"#_{bridge.id}_wanted:{bridge.domain}"
    await alice.join_room(alias, max_retries=0)
    wanted = f"@_{bridge.id}_wanted:{bridge.domain}"
    private = await alice.create_room(preset=RoomCreatePreset.PRIVATE)
    await alice.invite_user(private, UserID(wanted))

    def is_invite(event):
        return (
            event.type == EventType.ROOM_MEMBER
            and event.state_key == wanted
            and event.content.membership == Membership.INVITE
        )

    await bridge.sees("the invite", is_invite)
    await bridge.ghost("wanted").ensure_joined(RoomID(private))


async def main(url, domain, port, id, as_token, hs_token, user, token):
    story = Story()
    bridge = Bridge(url, domain, id, as_token, hs_token)
    alice = ClientAPI(UserID(user), base_url=url, token=token)
    await story.step("a bridge starts, is somebody and is reached", begin(bridge, int(port)))
    room = await story.step("one of its users makes a room and speaks", speak(bridge, alice))
    await story.step("it hears what is said and done", listen(bridge, alice, room))
    await story.step("it makes rooms and users for which it is asked", be_asked(bridge, alice))
    await alice.api.session.close()
    await bridge.service.stop()
    return story.failed


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    sys.exit(1 if asyncio.run(main(*sys.argv[1:])) else 0)
