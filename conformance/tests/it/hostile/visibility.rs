//! Who sees which part of a room's history, by every way in which it can be read. What is expected is
//! worked out from the rule of the specification, for each visibility, each change of it and each way
//! through a room.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility>

use std::collections::BTreeSet;

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use starling_conformance::{
    client::{User, path},
    evil::Peer,
    servers::Server,
};

use crate::{
    client::sync::connection::{SIMPLIFIED, all},
    scene::assert_others_are_served,
    support,
};

const VISIBILITIES: [&str; 4] = ["world_readable", "shared", "invited", "joined"];
/// Something is said in each of so many periods, between which memberships change.
const PERIODS: usize = 5;
/// The visibility changes before this one, and those who go have gone then.
const CHANGE: usize = 3;

/// Somebody, and what they are to the room in each period.
struct Actor {
    name: &'static str,
    memberships: [&'static str; PERIODS],
}

const ACTORS: [Actor; 7] = [
    Actor { name: "host", memberships: ["join", "join", "join", "join", "join"] },
    Actor { name: "never", memberships: ["leave", "leave", "leave", "leave", "leave"] },
    Actor { name: "invited", memberships: ["leave", "invite", "invite", "invite", "invite"] },
    Actor { name: "joined", memberships: ["leave", "invite", "join", "join", "join"] },
    Actor { name: "left", memberships: ["leave", "invite", "join", "leave", "leave"] },
    Actor { name: "returned", memberships: ["leave", "invite", "join", "leave", "join"] },
    Actor { name: "banned", memberships: ["leave", "invite", "join", "ban", "ban"] },
];

impl Actor {
    /// The rule.
    fn may_see(&self, visibility: &str, period: usize) -> bool {
        let later = &self.memberships[period..];
        match visibility {
            "world_readable" => true,
            "shared" => later.contains(&"join"),
            "invited" => matches!(self.memberships[period], "join" | "invite"),
            _ => self.memberships[period] == "join",
        }
    }

    fn was_there(&self) -> bool {
        self.memberships.contains(&"join")
    }

    /// Whoever has left is shown pages and results up to then, also where anybody may look in.
    fn is_told_of(&self, period: usize) -> bool {
        self.was_there() && (period < CHANGE || self.memberships[PERIODS - 1] == "join")
    }
}

/// A room whose history is visible in one way first and in another one later.
struct Room {
    number: usize,
    id: String,
    visibilities: [&'static str; PERIODS],
    /// What was said in each period.
    said: Vec<String>,
}

impl Room {
    /// A word that is said in one period of one room only.
    fn word(&self, period: usize) -> String {
        format!("probe{}in{period}end", self.number)
    }

    fn expected(&self, actor: &Actor) -> BTreeSet<usize> {
        let sees = |period: &usize| actor.may_see(self.visibilities[*period], *period);
        (0..PERIODS).filter(sees).collect()
    }

    /// The periods of which something stands in an answer.
    fn found(&self, answer: &Value) -> BTreeSet<usize> {
        let text = answer.to_string();
        (0..PERIODS).filter(|period| text.contains(&self.word(*period))).collect()
    }

    /// A word that is said in every period of one room.
    fn common_word(&self) -> String {
        format!("hall{}end", self.number)
    }

    /// Something that is said in one period: everything after the first is in a thread.
    async fn say(&mut self, host: &User, period: usize) {
        let body = format!("{} {}", self.word(period), self.common_word());
        let mut content = json!({ "msgtype": "m.text", "body": body });
        if let Some(root) = self.said.first() {
            content["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": root });
        }
        self.said.push(host.send(&self.id, "m.room.message", content).await.unwrap());
    }

    async fn make(number: usize, visibilities: [&'static str; 2], users: &[User]) -> Self {
        let [host, _, invited, joined, left, returned, banned] = users else { panic!("seven") };
        let (before, after) = (visibilities[0], visibilities[1]);
        let visibility = json!({ "history_visibility": before });
        let state = json!([{ "type": "m.room.history_visibility", "content": visibility }]);
        let options = json!({ "preset": "private_chat", "initial_state": state });
        let id = host.create_room(options).await.unwrap();
        let all = [before, before, before, after, after];
        let mut room = Self { number, id, visibilities: all, said: Vec::new() };
        room.say(host, 0).await;
        for user in [invited, joined, left, returned, banned] {
            host.invite(&room.id, &user.id).await.unwrap();
        }
        room.say(host, 1).await;
        for user in [joined, left, returned, banned] {
            user.join(&room.id, &[]).await.unwrap();
        }
        room.say(host, 2).await;
        if before != after {
            let visibility = json!({ "history_visibility": after });
            let kind = "m.room.history_visibility";
            host.set_state(&room.id, kind, "", visibility).await.unwrap();
        }
        left.leave(&room.id).await.unwrap();
        host.kick(&room.id, &returned.id).await.unwrap();
        host.ban(&room.id, &banned.id).await.unwrap();
        let late = json!({ "topic": format!("late{number}end") });
        host.set_state(&room.id, "m.room.topic", "", late).await.unwrap();
        room.say(host, CHANGE).await;
        host.invite(&room.id, &returned.id).await.unwrap();
        returned.join(&room.id, &[]).await.unwrap();
        room.say(host, 4).await;
        room
    }
}

/// Requests that are about one room.
fn of_room(room: &Room) -> Vec<String> {
    let mut targets: Vec<String> = [
        "/_matrix/client/v3/rooms/{}/messages?dir=b&limit=100",
        "/_matrix/client/v3/rooms/{}/messages?dir=f&limit=100",
        "/_matrix/client/v3/rooms/{}/initialSync?limit=100",
        "/_matrix/client/v3/rooms/{}/state",
        "/_matrix/client/v3/rooms/{}/state/m.room.topic/",
        "/_matrix/client/v3/rooms/{}/members",
        "/_matrix/client/v3/rooms/{}/joined_members",
        "/_matrix/client/v1/rooms/{}/threads?limit=100",
        "/_matrix/client/v1/rooms/{}/hierarchy",
        "/_matrix/client/v1/room_summary/{}",
    ]
    .iter()
    .map(|template| path(template, &[&room.id]))
    .collect();
    // Where nothing changes, all of them; elsewhere those beside the change.
    let some = if room.visibilities[0] == room.visibilities[CHANGE] { 0..PERIODS } else { 2..4 };
    for event in &room.said[some] {
        let ids = [room.id.as_str(), event.as_str()];
        targets.push(path("/_matrix/client/v3/rooms/{}/context/{}?limit=100", &ids));
        targets.push(path("/_matrix/client/v1/rooms/{}/relations/{}?limit=100", &ids));
        targets.push(path("/_matrix/client/v3/events/{}", &ids[1..]));
    }
    targets
}

/// What an answer shows that it may not, of a room that is read by an actor.
fn leaks(room: &Room, actor: &Actor, target: &str, answer: &Value) -> Option<String> {
    let excess: Vec<usize> =
        room.found(answer).difference(&room.expected(actor)).copied().collect();
    let late = format!("late{}end", room.number);
    // A topic of a time at which they were not there any more. Who is invited is shown what the room is.
    let outside = actor.memberships[PERIODS - 1] != "join";
    let hidden = !actor.may_see(room.visibilities[CHANGE], CHANGE);
    let is_summary = target.contains("/hierarchy") || target.contains("/room_summary/");
    let is_shown = is_summary && actor.memberships[PERIODS - 1] == "invite";
    let topic = outside && hidden && !is_shown && answer.to_string().contains(&late);
    let shown = (!excess.is_empty()).then(|| format!("periods {excess:?}"));
    let shown = shown.or_else(|| topic.then(|| "the late topic".to_owned()))?;
    Some(format!("{} sees {shown} of {:?} by {target}", actor.name, room.visibilities))
}

/// Reads one room as one actor, in every way; tells what is shown that should not be, and what is not
/// shown that should be.
async fn read(room: &Room, actor: &Actor, user: &User) -> Vec<String> {
    let expected = room.expected(actor);
    let mut complaints = Vec::new();
    for target in of_room(room) {
        let answer = user.api.get(&target).await.unwrap();
        assert!(answer.status < 500, "{answer:?}");
        complaints.extend(leaks(room, actor, &target, &answer.body));
        let told: BTreeSet<usize> =
            expected.iter().copied().filter(|period| actor.is_told_of(*period)).collect();
        let found = room.found(&answer.body);
        if target.contains("/messages") && actor.was_there() && !told.is_subset(&found) {
            complaints.push(format!(
                "{} is shown {found:?}, not {told:?} of {:?} by {target}",
                actor.name, room.visibilities,
            ));
        }
    }
    for (period, event) in room.said.iter().enumerate() {
        let answer = user.event(&room.id, event).await.unwrap();
        let shown = answer.status == 200;
        if shown != expected.contains(&period) || !matches!(answer.status, 200 | 404) {
            complaints.push(format!(
                "{}: {} for what was said in period {period} of {:?}",
                actor.name, answer.status, room.visibilities
            ));
        }
    }
    for direction in ["f", "b"] {
        let ts = if direction == "f" { "0" } else { "9007199254740991" };
        let template = "/_matrix/client/v1/rooms/{}/timestamp_to_event?dir={}&ts={}";
        let target = path(template, &[&room.id, direction, ts]);
        let answer = user.api.get(&target).await.unwrap();
        let found = answer.body["event_id"].as_str().map(str::to_owned);
        let period = room.said.iter().position(|event| Some(event) == found.as_ref());
        if period.is_some_and(|period| !expected.contains(&period)) {
            complaints.push(format!("{}: {target} names period {period:?}", actor.name));
        }
    }
    complaints
}

/// What is about all rooms at once.
async fn read_all(rooms: &[Room], actor: &Actor, user: &User) -> Vec<String> {
    let filter = json!({ "room": { "include_leave": true, "timeline": { "limit": 100 } } });
    let search = |term: &str| {
        json!({ "search_categories": { "room_events": {
            "search_term": term, "filter": { "limit": 100 }, "event_context": {},
            "include_state": true,
        } } })
    };
    let mut answers = Vec::new();
    for target in [
        path("/_matrix/client/v3/sync?filter={}", &[&filter.to_string()]),
        path("/_matrix/client/v3/sync?full_state=true&filter={}", &[&filter.to_string()]),
        "/_matrix/client/v3/initialSync?limit=100&archived=true".to_owned(),
        "/_matrix/client/v3/notifications?limit=100".to_owned(),
    ] {
        let answer = user.api.get(&target).await.unwrap().ok().unwrap();
        answers.push((target, answer));
    }
    let mut sliding = all(100, &[("*", "*")]);
    for room in rooms {
        sliding["room_subscriptions"][&room.id] =
            json!({ "timeline_limit": 100, "required_state": [["*", "*"]] });
    }
    let answer = user.api.post(SIMPLIFIED, sliding).await.unwrap().ok().unwrap();
    answers.push((SIMPLIFIED.to_owned(), answer));
    let mut complaints = Vec::new();
    for room in rooms {
        for (target, answer) in &answers {
            complaints.extend(leaks(room, actor, target, answer));
        }
        let target = "/_matrix/client/v3/search";
        let answer =
            user.api.post(target, search(&room.common_word())).await.unwrap().ok().unwrap();
        let found = &answer["search_categories"]["room_events"];
        complaints.extend(leaks(room, actor, target, &found["results"]));
        let told: BTreeSet<usize> =
            room.expected(actor).into_iter().filter(|period| actor.is_told_of(*period)).collect();
        let count = found["count"].as_u64().unwrap();
        if !told.is_subset(&room.found(&found["results"]))
            || count > room.expected(actor).len() as u64
        {
            complaints.push(format!(
                "{} finds {count}, not {told:?} of {:?}",
                actor.name, room.visibilities
            ));
        }
    }
    complaints
}

#[tokio::test]
async fn clients_see_what_the_visibility_of_the_time_lets_them_see() {
    let users: Vec<User> = join_all(ACTORS.iter().map(|actor| support::user(actor.name))).await;
    let changes = VISIBILITIES
        .iter()
        .flat_map(|before| VISIBILITIES.map(|after| [*before, after]))
        .enumerate();
    let rooms: Vec<Room> =
        join_all(changes.map(|(number, change)| Room::make(number, change, &users))).await;
    assert_eq!(rooms.len(), 16);
    let everybody = ACTORS.iter().zip(&users);
    let complaints = join_all(everybody.map(|(actor, user)| {
        let rooms = &rooms;
        async move {
            let mut complaints = read_all(rooms, actor, user).await;
            for room in rooms {
                complaints.extend(read(room, actor, user).await);
            }
            complaints
        }
    }))
    .await
    .concat();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert_others_are_served(support::server().await).await;
}

/// A server, and what its only user is to the room in each period.
const SERVERS: [Actor; 4] = [
    Actor { name: "never", memberships: ["leave", "leave", "leave", "leave", "leave"] },
    Actor { name: "invited", memberships: ["leave", "invite", "invite", "invite", "invite"] },
    Actor { name: "joined", memberships: ["leave", "invite", "join", "join", "join"] },
    Actor { name: "left", memberships: ["leave", "invite", "join", "leave", "leave"] },
];

/// Asks everything that a server can ask of a room.
async fn ask(server: &Server, peer: &Peer, room: &Room) -> Vec<(String, Value)> {
    let mut requests = Vec::new();
    for event in &room.said {
        let ids = [room.id.as_str(), event.as_str()];
        for template in [
            "/_matrix/federation/v1/backfill/{}?limit=100&v={}",
            "/_matrix/federation/v1/state/{}?event_id={}",
            "/_matrix/federation/v1/state_ids/{}?event_id={}",
            "/_matrix/federation/v1/event_auth/{}/{}",
        ] {
            requests.push((Method::GET, path(template, &ids), None));
        }
        requests.push((Method::GET, path("/_matrix/federation/v1/event/{}", &ids[1..]), None));
        let body = json!({ "earliest_events": [], "latest_events": [event], "limit": 100 });
        let target = path("/_matrix/federation/v1/get_missing_events/{}", &ids[..1]);
        requests.push((Method::POST, target, Some(body)));
    }
    let mut answers = Vec::new();
    for (method, target, body) in requests {
        let answer = peer.request(server, method, &target, body.as_ref()).await.unwrap();
        assert!(answer.status < 500, "{answer:?}");
        answers.push((target, answer.body));
    }
    answers
}

/// A room that servers come into and leave.
async fn with_servers(
    number: usize,
    visibility: &'static str,
    host: &User,
    peers: &[Peer],
) -> Room {
    let server = support::server().await;
    let [_, invited, joined, left] = peers else { panic!("four") };
    let state = json!([{ "type": "m.room.history_visibility",
                         "content": { "history_visibility": visibility } }]);
    let options = json!({ "preset": "private_chat", "initial_state": state });
    let id = host.create_room(options).await.unwrap();
    let mut room = Room { number, id, visibilities: [visibility; PERIODS], said: Vec::new() };
    room.say(host, 0).await;
    for peer in [invited, joined, left] {
        host.invite(&room.id, &peer.user("guest")).await.unwrap();
    }
    room.say(host, 1).await;
    for peer in [joined, left] {
        peer.join(server, &room.id, &peer.user("guest")).await.unwrap();
    }
    room.say(host, 2).await;
    host.kick(&room.id, &left.user("guest")).await.unwrap();
    room.say(host, CHANGE).await;
    room.say(host, 4).await;
    room
}

#[tokio::test]
async fn servers_are_given_what_the_visibility_of_the_time_lets_their_users_see() {
    let (server, host) = (support::server().await, support::user("host").await);
    let peers: Vec<Peer> = join_all(SERVERS.iter().map(|_| support::peer())).await;
    let mut complaints = Vec::new();
    for (number, visibility) in VISIBILITIES.into_iter().enumerate() {
        let room = with_servers(number, visibility, &host, &peers).await;
        for (actor, peer) in SERVERS.iter().zip(&peers) {
            // In rooms with shared history a server has everything from before as soon as it is in it.
            let expected: BTreeSet<usize> = (0..PERIODS)
                .filter(|period| match visibility {
                    "shared" => actor.memberships[*period..].contains(&"join"),
                    _ => actor.may_see(visibility, *period),
                })
                .collect();
            let answers = ask(server, peer, &room).await;
            let mut whole = BTreeSet::new();
            for (target, answer) in &answers {
                let found = room.found(answer);
                let excess: Vec<_> = found.difference(&expected).collect();
                if !excess.is_empty() {
                    complaints.push(format!(
                        "{} gets {excess:?} of {visibility} by {target}",
                        actor.name
                    ));
                }
                whole.extend(found);
            }
            let is_in_it = actor.memberships[PERIODS - 1] == "join";
            if is_in_it && whole != expected {
                complaints.push(format!(
                    "{} gets {whole:?}, not {expected:?} of {visibility}",
                    actor.name
                ));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert_others_are_served(server).await;
}
