//! What strangers can make a server keep or compute has an end.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, future::join_all, stream};
use http::Method;
use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, User, path},
    evil::{Received, Reply},
    hostile::Watch,
    random,
    servers::Kind,
};

use crate::{
    nonsense::endpoints::{self, Endpoint},
    scene::{Scene, assert_others_are_served},
    support,
};

const CLIENT: &str = "/_matrix/client/v3";
/// How many requests are on their way at a time.
const AT_A_TIME: usize = 4;

/// A page of events none of which anybody may see is not the end of the room.
#[tokio::test]
async fn pages_lead_past_events_that_were_rejected() {
    for version in ["11", "12"] {
        let mut scene = Scene::set(version).await;
        let first = scene.say("before").await;
        let mut chain = Vec::new();
        for number in 0..200 {
            let name = json!({ "name": format!("name {number}") });
            let draft = scene.room.state_draft(&scene.mallory, "m.room.name", "", name).unwrap();
            let mut draft = draft;
            let before = chain
                .last()
                .map_or(first.id.clone(), |event: &starling_conformance::evil::Event| {
                    event.id.clone()
                });
            draft["prev_events"] = scene.room.references([before.as_str()]).unwrap();
            let event = scene.sealed(&draft);
            scene.room.keep(&event);
            chain.push(event);
        }
        for some in chain.chunks(50) {
            scene.deliver(&some.iter().collect::<Vec<_>>()).await;
        }
        let mut draft = scene.room.message(&scene.mallory, "after").unwrap();
        draft["prev_events"] = scene.room.references([chain[199].id.as_str()]).unwrap();
        scene.put_out(&draft).await;
        for limit in [1, 10, 1_000] {
            let seen = page_through(&scene.alice, &scene.room.id, limit).await;
            assert_eq!(seen.last().unwrap()["type"], "m.room.create", "version {version}, {limit}");
            let bodies: Vec<&Value> = seen.iter().map(|event| &event["content"]["body"]).collect();
            for body in ["before", "after"] {
                let times = bodies.iter().filter(|it| **it == body).count();
                assert_eq!(times, 1, "version {version}, {limit}: {body}");
            }
            assert!(!seen.iter().any(|event| event["type"] == "m.room.name"), "version {version}");
        }
        let hidden: Vec<_> = chain.into_iter().map(|event| ("rejected", event)).collect();
        scene.goes_on_without(&hidden).await;
    }
}

/// All pages from the newest event back, which must end where the room begins and nowhere else.
async fn page_through(user: &User, room: &str, limit: usize) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    let mut from: Option<String> = None;
    for _ in 0..1_000 {
        let mut target = path("/_matrix/client/v3/rooms/{}/messages?dir=b", &[room]);
        target.push_str(&format!("&limit={limit}"));
        if let Some(token) = &from {
            target.push_str(&path("&from={}", &[token]));
        }
        let page = user.api.get(&target).await.unwrap().ok().unwrap();
        events.extend(page["chunk"].as_array().unwrap().iter().cloned());
        match page["end"].as_str() {
            None => return events,
            Some(end) => {
                assert_ne!(from.as_deref(), Some(end), "the same page for ever");
                from = Some(end.to_owned());
            }
        }
    }
    panic!("a thousand pages");
}

/// What an invited server is shown of a room has an end, and does not hold up what else it is sent.
#[tokio::test]
async fn a_room_that_describes_itself_at_length_holds_up_no_other() {
    let (server, peer) = (support::server().await, support::peer().await);
    let alice = support::user("alice").await;
    let mallory = peer.user("mallory");
    let shared = alice.create_public_room().await.unwrap();
    peer.join(server, &shared, &mallory).await.unwrap();
    let long = "x".repeat(60_000);
    let room = alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    for (kind, content) in [
        ("m.room.name", json!({ "name": long })),
        ("m.room.topic", json!({ "topic": long })),
        ("m.room.avatar", json!({ "url": "mxc://x/y", "info": { "x": long } })),
        ("m.room.encryption", json!({ "algorithm": "m.megolm.v1.aes-sha2", "x": long })),
        ("m.room.join_rules", json!({ "join_rule": "invite", "x": long })),
    ] {
        alice.set_state(&room, kind, "", content).await.unwrap();
    }
    // The first is not taken, whatever is in it; the one who invites is told, and may try again.
    peer.answer("invite", Reply::error(413, "M_TOO_LARGE"));
    let target = path("/_matrix/client/v3/rooms/{}/invite", &[&room]);
    let body = json!({ "user_id": mallory });
    let answer = alice.api.post(&target, body.clone()).await.unwrap();
    assert!(answer.status >= 400 && !matches!(answer.status, 401 | 500), "{answer:?}");
    peer.be_honest();
    alice.say(&shared, "something else").await.unwrap();
    peer.received_pdu("it", |pdu| pdu["content"]["body"] == "something else").await.unwrap();
    alice.api.post(&target, body).await.unwrap().ok().unwrap();
    let is_invite = |request: &Received| {
        request.pieces.contains(&"invite".to_owned()) && request.pieces.contains(&room)
    };
    let request = peer.received("the invitation", is_invite).await.unwrap();
    let shown = request.body["invite_room_state"].to_string().len();
    assert!(shown < 7 * 65_536, "{shown} bytes");
    // A user of this server is shown it and can still use the others.
    let bob = support::user("bob").await;
    alice.invite(&room, &bob.id).await.unwrap();
    let sync = bob.api.get(&format!("{CLIENT}/sync")).await.unwrap().ok().unwrap();
    assert!(sync["rooms"]["invite"].get(&room).is_some());
    assert!(sync.to_string().len() < 7 * 65_536);
    assert_others_are_served(server).await;
}

/// Everybody wants the same room at once.
#[tokio::test]
async fn a_crowd_in_one_room_is_served_in_turn() {
    let server = support::server().await;
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let watch = Watch::begin(server).await.unwrap();
    let say = |number: usize| {
        let (alice, room) = (&alice, &room);
        async move {
            let content = json!({ "msgtype": "m.text", "body": number.to_string() });
            alice.try_send(room, "m.room.message", &number.to_string(), content).await.unwrap()
        }
    };
    let answers: Vec<Answer> = join_all((0..150).map(say)).await;
    let mut ids: Vec<String> = Vec::new();
    for answer in answers {
        ids.push(answer.ok().unwrap()["event_id"].as_str().unwrap().to_owned());
    }
    watch.end().await.unwrap();
    let history = alice.history(&room).await.unwrap();
    for id in &ids {
        assert_eq!(history.iter().filter(|event| event["event_id"] == id.as_str()).count(), 1);
    }
    // Also when they all change the same thing.
    let topic = |number: usize| {
        let (alice, room) = (&alice, &room);
        async move {
            let topic = json!({ "topic": number.to_string() });
            alice.set_state(room, "m.room.topic", "", topic).await
        }
    };
    for outcome in join_all((0..50).map(topic)).await {
        outcome.unwrap();
    }
    assert_others_are_served(server).await;
}

/// An endpoint with something put in for each parameter that gets past its own checks.
fn filled(endpoint: &Endpoint, user: &User, room: &str, event: &str) -> String {
    let part = |part: &str| match part {
        "{userId}" => path("{}", &[&user.id]),
        "{roomId}" | "{roomIdOrAlias}" => path("{}", &[room]),
        "{eventId}" | "{threadRootId}" => path("{}", &[event]),
        "{deviceId}" => path("{}", &[&user.device]),
        "{receiptType}" => "m.read".to_owned(),
        part if part.starts_with('{') => "value".to_owned(),
        part => part.to_owned(),
    };
    endpoint.path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Endpoints that take files, which have a bound of their own.
fn takes_files(endpoint: &Endpoint) -> bool {
    endpoint.path.starts_with("/_matrix/media/v3/upload")
}

/// A body that is far too large is refused before it has all come, whatever it is called.
#[tokio::test]
async fn bodies_without_end_are_not_read_to_the_end() {
    let server = support::server_with(&[("MEDIA__MAX_UPLOAD", "1 MiB")]).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let room = alice.create_public_room().await.unwrap();
    let event = alice.say(&room, "x").await.unwrap();
    let kinds = ["application/json", "Multipart/Form-Data; boundary=x", "TEXT/html", ""];
    let mut wrong = Vec::new();
    let before = server.peak_memory();
    for (number, endpoint) in endpoints::of("client-api").into_iter().enumerate() {
        if endpoint.method == Method::GET {
            continue;
        }
        let target = filled(&endpoint, &alice, &room, &event);
        let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = sent.clone();
        // 512 MiB, if somebody takes them.
        let chunks = stream::iter(0..8_192).map(move |_| {
            counted.fetch_add(65_536, std::sync::atomic::Ordering::Relaxed);
            Ok::<_, std::io::Error>(vec![b'{'; 65_536])
        });
        let login = alice.login().await.unwrap();
        let request = login
            .api
            .builder(endpoint.method.clone(), &target)
            .header("Content-Type", kinds[number % kinds.len()])
            .body(reqwest::Body::wrap_stream(chunks));
        match request.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                // Some look at no body at all.
                if status >= 500 {
                    wrong.push(format!("{} {target}: {status}", endpoint.method));
                }
            }
            // Who is refused before the body was read may find the connection closed.
            Err(error) => assert!(error.is_request() || error.is_body(), "{target}: {error:?}"),
        }
        let sent = sent.load(std::sync::atomic::Ordering::Relaxed);
        if sent > 48 << 20 {
            wrong.push(format!("{} {target}: {sent} bytes were taken", endpoint.method));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if let (Some(before), Some(after)) = (before, server.peak_memory()) {
        // Hashing a password for each log-in takes its part; a single body would take more than this.
        assert!(after - before < 400 << 20, "{} MiB", (after - before) >> 20);
    }
}

/// A megabyte in a field for a name.
#[tokio::test]
async fn a_field_of_a_megabyte_is_refused_at_once() {
    if support::spec().kind != Kind::Starling {
        return;
    }
    let server = support::server().await;
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let event = alice.say(&room, "x").await.unwrap();
    let long = "x".repeat(900_000);
    let names = [
        "name",
        "topic",
        "displayname",
        "avatar_url",
        "reason",
        "user_id",
        "device_id",
        "username",
        "initial_device_display_name",
        "display_name",
        "room_alias_name",
        "room_id",
        "pattern",
        "token",
        "password",
        "new_password",
        "session",
        "client_secret",
        "email",
        "sid",
        "pushkey",
        "app_id",
        "lang",
        "kind",
        "algorithm",
        "search_term",
        "type",
        "version",
        "next_link",
        "preset",
        "new_version",
        "room_version",
        "conn_id",
        "pos",
        "since",
        "refresh_token",
    ];
    let mut body: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), Value::from("short"))).collect();
    let wanted: Vec<(Endpoint, &str)> = endpoints::of("client-api")
        .into_iter()
        .filter(|endpoint| endpoint.method != Method::GET && !takes_files(endpoint))
        .flat_map(|endpoint| names.map(|name| (endpoint.clone(), name)))
        .collect();
    // One field of each endpoint in turn, so that each name meets many of them.
    let some = wanted.into_iter().enumerate().filter(|(number, _)| number % 37 == 0);
    body.insert("reason".to_owned(), "x".into());
    let complaints: Vec<String> = stream::iter(some)
        .map(async |(_, (endpoint, name))| {
            let mut body = body.clone();
            body.insert(name.to_owned(), long.clone().into());
            let target = filled(&endpoint, &alice, &room, &event);
            let user = alice.login().await.unwrap();
            let begun = Instant::now();
            let answer = user
                .api
                .request(endpoint.method.clone(), &target, Some(&body.into()))
                .await
                .unwrap();
            let slow = begun.elapsed() > Duration::from_secs(10);
            let wrong = answer.status >= 500 || slow;
            wrong.then(|| format!("{name}: {answer:?} after {:?}", begun.elapsed()))
        })
        .buffer_unordered(AT_A_TIME)
        .filter_map(async |complaint| complaint)
        .collect()
        .await;
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert_others_are_served(server).await;
}

/// Does the same with another number each time until the server has enough; fails when it never has.
async fn until_refused(most: usize, attempt: impl AsyncFn(usize) -> Answer) -> (usize, Answer) {
    for number in 0..most {
        let answer = attempt(number).await;
        if answer.status != 200 {
            return (number, answer);
        }
    }
    panic!("{most} were taken");
}

#[tokio::test]
async fn of_everything_that_one_can_have_one_can_have_so_much() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let put = async |target: String, body: Value| alice.api.put(&target, body).await.unwrap();
    let rule = |number: usize| {
        path("/_matrix/client/v3/pushrules/global/content/{}", &[&number.to_string()])
    };
    let large = json!({ "actions": ["notify"], "pattern": "x".repeat(500) });
    let (count, answer) =
        until_refused(1_100, async |number| put(rule(number), large.clone()).await).await;
    answer.expect_error(413, "M_TOO_LARGE").unwrap();
    assert!(count >= 100, "{count} rules");
    for (name, body) in [
        ("a long pattern", json!({ "actions": [], "pattern": "x".repeat(600) })),
        ("many actions", json!({ "actions": vec!["notify"; 60], "pattern": "x" })),
    ] {
        let answer = put(rule(0), body).await;
        assert_eq!(answer.status, 413, "{name}: {answer:?}");
    }
    let target = path("/_matrix/client/v3/pushrules/global/content/{}", &[&"x".repeat(600)]);
    let answer = put(target, json!({ "actions": [], "pattern": "x" })).await;
    assert!(matches!(answer.status, 400 | 413), "{answer:?}");
    let actions = "/_matrix/client/v3/pushrules/global/override/.m.rule.master/actions";
    let answer = put(
        actions.to_owned(),
        json!({ "actions": vec![json!({ "set_tweak": "x", "value": "y".repeat(1_000) }); 200] }),
    )
    .await;
    assert_eq!(answer.status, 413, "{answer:?}");

    let tag = |number: usize| {
        path(
            "/_matrix/client/v3/user/{}/rooms/{}/tags/{}",
            &[&alice.id, &room, &format!("u.{number}")],
        )
    };
    let (count, answer) =
        until_refused(150, async |number| put(tag(number), json!({})).await).await;
    assert!((50..=100).contains(&count) && answer.status < 500, "{count} tags: {answer:?}");

    let field = |number: usize| {
        path("/_matrix/client/v3/profile/{}/{}", &[&alice.id, &format!("org.example.{number}")])
    };
    let (count, answer) = until_refused(100, async |number| {
        let name = format!("org.example.{number}");
        put(field(number), json!({ name: "x".repeat(4_000) })).await
    })
    .await;
    assert!(count >= 10 && answer.status < 500, "{count} fields: {answer:?}");
    assert_others_are_served(support::server().await).await;
}

/// A transaction that is larger than fifty events can be is not read to its end.
#[tokio::test]
async fn a_transaction_has_a_bound_in_bytes() {
    let scene = Scene::set("12").await;
    let edu = json!({ "edu_type": "org.example", "content": { "x": "x".repeat(1 << 20) } });
    for (name, body) in [
        ("many large EDUs", json!({ "edus": vec![edu; 17], "pdus": [] })),
        ("an event of 17 MiB", json!({ "pdus": [{ "x": "x".repeat(17 << 20) }] })),
        ("something else", json!({ "pdus": [], "more": "x".repeat(17 << 20) })),
    ] {
        let mut body = body;
        body["origin"] = json!(scene.peer.name);
        body["origin_server_ts"] = json!(1);
        let target = path("/_matrix/federation/v1/send/{}", &[&random::suffix().unwrap()]);
        // The connection may be closed before all of it has gone out.
        if let Ok(answer) = scene.peer.put(scene.server, &target, &body).await {
            assert!(matches!(answer.status, 400 | 413), "{name}: {answer:?}");
        }
        assert_others_are_served(scene.server).await;
    }
    let mut scene = scene;
    scene.goes_on_without(&[]).await;
}

/// Each says that something was missed; one question answers all of them, and none is asked without a
/// pause when there is no answer.
#[tokio::test]
async fn changes_of_devices_that_do_not_follow_are_asked_about_seldom() {
    let scene = Scene::set("12").await;
    crate::client::keys::query(&scene.alice, &scene.mallory).await;
    let before = scene.peer.seen("devices").len();
    scene.peer.answer("devices", Reply::error(500, "M_UNKNOWN"));
    for round in 0..10 {
        let edus: Vec<Value> = (0..100)
            .map(|number| {
                let stream_id = 1_000 + round * 1_000 + number * 10;
                json!({ "edu_type": "m.device_list_update", "content": {
                    "user_id": scene.mallory, "device_id": format!("D{number}"),
                    "stream_id": stream_id, "prev_id": [stream_id - 1],
                } })
            })
            .collect();
        scene.peer.send_edus(scene.server, json!(edus)).await.unwrap();
    }
    let asked = scene.peer.seen("devices").len() - before;
    assert!(asked <= 20, "{asked} questions for a thousand changes");
    assert_others_are_served(scene.server).await;
}

/// Each lets in members of the other, and one lets in its own: nobody is a member to begin with.
#[tokio::test]
async fn rooms_that_let_in_each_others_members_in_circles_let_nobody_in() {
    let server = support::server().await;
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let (peer, mut rooms) = (support::peer().await, Vec::new());
    for _ in 0..3 {
        rooms.push(alice.create_room(json!({ "preset": "private_chat" })).await.unwrap());
    }
    for (number, room) in rooms.iter().enumerate() {
        let allow: Vec<Value> = [&rooms[(number + 1) % 3], room]
            .iter()
            .map(|room| json!({ "type": "m.room_membership", "room_id": room }))
            .chain((0..50).map(|n| json!({ "type": "m.room_membership", "room_id": format!("!n{n}:{}", peer.name) })))
            .collect();
        let rule = json!({ "join_rule": "restricted", "allow": allow });
        alice.set_state(room, "m.room.join_rules", "", rule).await.unwrap();
        let target = path("/_matrix/client/v3/rooms/{}/state/m.space.child/{}", &[room, room]);
        alice.api.put(&target, json!({ "via": [server.name()] })).await.unwrap().ok().unwrap();
    }
    for room in &rooms {
        let answer = bob.try_join(room, &[]).await.unwrap();
        assert!(matches!(answer.status, 403 | 404), "{answer:?}");
        let user = peer.user("mallory");
        let target =
            path("/_matrix/federation/v1/make_join/{}/{}?ver=12&ver=11&ver=10", &[room, &user]);
        let answer = peer.get(server, &target).await.unwrap();
        assert!(matches!(answer.status, 400 | 403), "{answer:?}");
    }
    alice.invite(&rooms[0], &bob.id).await.unwrap();
    bob.join(&rooms[0], &[]).await.unwrap();
    // A member of the first may come into the third, and from there into the second.
    bob.join(&rooms[2], &[]).await.unwrap();
    bob.join(&rooms[1], &[]).await.unwrap();
    assert_others_are_served(server).await;
}

#[tokio::test]
async fn trees_of_rooms_in_circles_and_without_end_are_shown_page_by_page() {
    let server = support::server().await;
    let alice = support::user("alice").await;
    let space = json!({ "preset": "public_chat", "creation_content": { "type": "m.space" } });
    let mut spaces = Vec::new();
    for _ in 0..30 {
        spaces.push(alice.create_room(space.clone()).await.unwrap());
    }
    let via = json!({ "via": [server.name()] });
    let child = async |parent: &str, child: &str, content: Value| {
        alice.set_state(parent, "m.space.child", child, content).await.unwrap();
    };
    for number in 0..29 {
        child(&spaces[number], &spaces[number + 1], via.clone()).await;
    }
    // Back to the beginning, to itself, twice to the same, and to what is none.
    child(&spaces[29], &spaces[0], via.clone()).await;
    child(&spaces[5], &spaces[5], via.clone()).await;
    child(&spaces[0], &spaces[20], via.clone()).await;
    let mut none = via.clone();
    none["order"] = json!("\u{1f600}".repeat(60));
    for (name, content) in [
        ("!empty:example.org", json!({})),
        ("!novia:example.org", json!({ "via": [] })),
        ("!wrong:example.org", json!({ "via": "x" })),
        ("no room", via.clone()),
        ("!odd:example.org", none),
    ] {
        child(&spaces[1], name, content).await;
    }
    for number in 0..100 {
        child(&spaces[2], &format!("!{number}:gone.invalid"), json!({ "via": ["gone.invalid"] }))
            .await;
    }
    let begun = Instant::now();
    let mut seen = Vec::new();
    let mut from = String::new();
    for _ in 0..40 {
        let target = path("/_matrix/client/v1/rooms/{}/hierarchy?limit=7", &[&spaces[0]]) + &from;
        let page = alice.api.get(&target).await.unwrap().ok().unwrap();
        let rooms = page["rooms"].as_array().unwrap();
        assert!(rooms.len() <= 7);
        seen.extend(rooms.iter().map(|room| room["room_id"].as_str().unwrap().to_owned()));
        match page["next_batch"].as_str() {
            Some(next) => from = path("&from={}", &[next]),
            None => break,
        }
    }
    let distinct: std::collections::BTreeSet<&String> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "a room came twice: {seen:?}");
    assert!(seen.iter().all(|room| spaces.contains(room)), "{seen:?}");
    assert!(seen.len() > 20, "{}", seen.len());
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_others_are_served(server).await;
}
