//! Side doors: what an account may not do by one way, it may not do by another.

use http::Method;
use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, Api, PASSWORD, User, path, text},
    random,
    servers::Server,
};

use crate::{
    nonsense::endpoints::{self, Endpoint},
    scene::assert_others_are_served,
    support,
};

const LOGIN: &str = "/_matrix/client/v3/login";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

fn with_password(user: &str, password: &str) -> Value {
    let identifier = json!({ "type": "m.id.user", "user": user });
    json!({ "type": "m.login.password", "identifier": identifier, "password": password })
}

/// An account with every kind of secret that lets somebody in.
struct Secrets {
    user: User,
    refresh: String,
    login: String,
}

impl Secrets {
    async fn new(server: &Server) -> Self {
        let api = Api::new(server).unwrap();
        let name = format!("alice-{}", random::suffix().unwrap());
        let body = json!({ "username": name, "password": PASSWORD, "refresh_token": true });
        let answer = api.register(body).await.unwrap();
        let refresh = text(&answer.body, "/refresh_token").unwrap().to_owned();
        let user = User::from_login(&api, answer).unwrap();
        let target = "/_matrix/client/v1/login/get_token";
        let body = json!({ "auth": with_password(&user.id, PASSWORD) });
        let login = user.api.post(target, body).await.unwrap().ok().unwrap();
        let login = text(&login, "/login_token").unwrap().to_owned();
        Self { user, refresh, login }
    }

    /// Everything that would let the user in, or go on, if the account were open.
    async fn try_all(&self, api: &Api) -> Vec<(&'static str, Answer)> {
        let post = async |target: &str, body: Value| api.post(target, body).await.unwrap();
        let with_token = json!({ "type": "m.login.token", "token": self.login });
        let refresh = json!({ "refresh_token": self.refresh });
        let query = format!("{WHOAMI}?access_token={}", self.user.token);
        vec![
            ("the password", post(LOGIN, with_password(&self.user.id, PASSWORD)).await),
            ("a log-in token", post(LOGIN, with_token).await),
            ("a refresh token", post("/_matrix/client/v3/refresh", refresh).await),
            ("an access token", self.user.api.get(WHOAMI).await.unwrap()),
            ("an access token in the query", api.get(&query).await.unwrap()),
            ("a long poll", self.user.api.get("/_matrix/client/v3/sync").await.unwrap()),
        ]
    }
}

#[tokio::test]
async fn nobody_comes_into_an_account_that_is_closed() {
    let server = support::server().await;
    let (api, admin) = (support::anonymous().await, support::admin().await);
    for by_admin in [false, true] {
        let secrets = Secrets::new(server).await;
        let user = &secrets.user;
        if by_admin {
            let target = path("/_synapse/admin/v1/deactivate/{}", &[&user.id]);
            admin.api.post(&target, json!({ "erase": false })).await.unwrap().ok().unwrap();
        } else {
            let body = json!({ "auth": with_password(&user.id, PASSWORD) });
            let target = "/_matrix/client/v3/account/deactivate";
            user.api.post(target, body).await.unwrap().ok().unwrap();
        }
        for (name, answer) in secrets.try_all(&api).await {
            assert!(matches!(answer.status, 401 | 403), "{name}: {answer:?}");
        }
        // Neither a new password nor a new registration opens it.
        let body =
            json!({ "new_password": "another one", "auth": with_password(&user.id, PASSWORD) });
        let answer = api.post("/_matrix/client/v3/account/password", body).await.unwrap();
        assert!(matches!(answer.status, 401 | 403), "{answer:?}");
        let name = user.id.trim_start_matches('@').split(':').next().unwrap();
        let body = json!({ "username": name, "password": PASSWORD });
        api.register(body).await.unwrap().expect_error(400, "M_USER_IN_USE").unwrap();
    }
    assert_others_are_served(server).await;
}

#[tokio::test]
async fn a_locked_account_is_locked_at_every_door() {
    let server = support::server().await;
    let (api, admin) = (support::anonymous().await, support::admin().await);
    let secrets = Secrets::new(server).await;
    let lock = path("/_matrix/client/v1/admin/lock/{}", &[&secrets.user.id]);
    admin.api.put(&lock, json!({ "locked": true })).await.unwrap().ok().unwrap();
    for (name, answer) in secrets.try_all(&api).await {
        let answer = answer.expect_error(401, "M_USER_LOCKED");
        answer.unwrap_or_else(|error| panic!("{name}: {error:#}"));
    }
    let room = support::user("host").await.create_public_room().await.unwrap();
    for endpoint in endpoints::of("client-api") {
        let target = filled(&endpoint, &secrets.user, &room);
        let body = (endpoint.method != Method::GET).then(|| json!({}));
        let answer = secrets
            .user
            .api
            .request(endpoint.method.clone(), &target, body.as_ref())
            .await
            .unwrap();
        if endpoint.path.contains("/logout") {
            continue;
        }
        let told = answer.status == 200 && answer.errcode().is_empty();
        assert!(!told || is_for_anybody(&endpoint), "{} {target}: {answer:?}", endpoint.method);
    }
    // Logging out worked; what is locked stays so.
    let answer = api.post(LOGIN, with_password(&secrets.user.id, PASSWORD)).await.unwrap();
    answer.expect_error(401, "M_USER_LOCKED").unwrap();
}

fn filled(endpoint: &Endpoint, user: &User, room: &str) -> String {
    let part = |part: &str| match part {
        "{userId}" => path("{}", &[&user.id]),
        "{roomId}" | "{roomIdOrAlias}" => path("{}", &[room]),
        "{deviceId}" => path("{}", &[&user.device]),
        part if part.starts_with('{') => "value".to_owned(),
        part => part.to_owned(),
    };
    endpoint.path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// What is answered without a token, which is what one that lets nobody in is worth.
fn is_for_anybody(endpoint: &Endpoint) -> bool {
    let path = &endpoint.path;
    [
        "/versions",
        "/login",
        "/register",
        "/.well-known",
        "/publicRooms",
        "/directory/",
        "/profile/",
        "/room_summary/",
        "/auth_metadata",
        "/static/",
        "/key",
        "/media/",
        "/submit_token",
        "/requestToken",
        "/health",
        "/metrics",
        "/auth/",
        "/refresh",
    ]
    .iter()
    .any(|piece| path.contains(piece))
}

/// An empty secret opens nothing, wherever it is put.
#[tokio::test]
async fn an_empty_secret_is_no_secret() {
    let server = support::server().await;
    let api = support::anonymous().await;
    for header in
        ["", "Bearer", "Bearer ", "Bearer  ", "Bearer \t", "bearer ", "Basic ", "Bearer null"]
    {
        let request = api.builder(Method::GET, WHOAMI).header("Authorization", header);
        let answer = Answer::read(format!("GET {WHOAMI}"), request).await.unwrap();
        assert_eq!(answer.status, 401, "{header:?}: {answer:?}");
    }
    for query in [
        "access_token=",
        "access_token",
        "access_token=&access_token=",
        "access_token=%00",
        "access_token=null",
    ] {
        let answer = api.get(&format!("{WHOAMI}?{query}")).await.unwrap();
        assert_eq!(answer.status, 401, "{query}: {answer:?}");
        let query = format!("{WHOAMI}?{query}&user_id=%40alice%3Ax");
        assert_eq!(api.get(&query).await.unwrap().status, 401, "{query}");
    }
    let alice = support::user("alice").await;
    for password in [
        json!(""),
        Value::Null,
        json!("\0"),
        json!([]),
        json!(PASSWORD.to_uppercase()),
        json!(format!("{PASSWORD}\0")),
    ] {
        let mut body = with_password(&alice.id, "");
        body["password"] = password;
        let answer = api.post(LOGIN, body.clone()).await.unwrap();
        assert!(matches!(answer.status, 400 | 403), "{body}: {answer:?}");
        let auth = json!({ "auth": body, "new_password": "x" });
        let answer = alice.api.post("/_matrix/client/v3/account/password", auth).await.unwrap();
        assert!(matches!(answer.status, 400 | 401 | 403), "{body}: {answer:?}");
    }
    for body in
        [json!({ "type": "m.login.token", "token": "" }), json!({ "type": "m.login.token" })]
    {
        let answer = api.post(LOGIN, body).await.unwrap();
        assert!(matches!(answer.status, 400 | 403), "{answer:?}");
    }
    for body in [json!({ "refresh_token": "" }), json!({})] {
        let answer = api.post("/_matrix/client/v3/refresh", body).await.unwrap();
        assert!(matches!(answer.status, 400 | 401), "{answer:?}");
    }
    let register =
        json!({ "nonce": "", "mac": "", "username": "x", "password": "x", "admin": true });
    let answer = api.post("/_synapse/admin/v1/register", register).await.unwrap();
    assert!(matches!(answer.status, 400 | 403), "{answer:?}");
    alice.login().await.unwrap();
    assert_others_are_served(server).await;
}

/// An account that has no password is not entered by any.
#[tokio::test]
async fn without_a_password_no_password_is_right() {
    let server = support::server().await;
    let (api, admin) = (support::anonymous().await, support::admin().await);
    let id = format!("@nopass-{}:{}", random::suffix().unwrap(), server.name());
    let target = path("/_synapse/admin/v2/users/{}", &[&id]);
    let answer = admin.api.put(&target, json!({ "displayname": "No password" })).await.unwrap();
    answer.ok().unwrap();
    let target = path("/_synapse/admin/v1/users/{}/login", &[&id]);
    let session = admin.api.post(&target, json!({})).await.unwrap().ok().unwrap();
    let user = api.with_token(text(&session, "/access_token").unwrap());
    user.get(WHOAMI).await.unwrap().ok().unwrap();
    for password in ["", "\0", "null", "*", "!", "x", PASSWORD] {
        let answer = api.post(LOGIN, with_password(&id, password)).await.unwrap();
        assert!(matches!(answer.status, 400 | 403), "{password:?}: {answer:?}");
        for (target, more) in [
            ("/_matrix/client/v3/account/password", json!({ "new_password": "mine now" })),
            ("/_matrix/client/v3/account/deactivate", json!({})),
            ("/_matrix/client/v3/delete_devices", json!({ "devices": ["x"] })),
        ] {
            let mut body = more;
            body["auth"] = with_password(&id, password);
            let answer = user.post(target, body).await.unwrap();
            assert!(matches!(answer.status, 400 | 401 | 403), "{target} {password:?}: {answer:?}");
        }
    }
    user.get(WHOAMI).await.unwrap().ok().unwrap();
}

/// What somebody proved for one thing opens no other.
#[tokio::test]
async fn a_proof_is_for_one_request() {
    let alice = support::user("alice").await;
    let second = alice.login().await.unwrap();
    let third = alice.login().await.unwrap();
    let target = "/_matrix/client/v3/delete_devices";
    let wanted = json!({ "devices": [second.device] });
    let asked = alice.api.post(target, wanted.clone()).await.unwrap().expect_status(401).unwrap();
    let session = asked.body["session"].clone();
    let mut auth = with_password(&alice.id, PASSWORD);
    auth["session"] = session;
    for (target, body) in [
        (target, json!({ "devices": [third.device], "auth": auth })),
        ("/_matrix/client/v3/account/deactivate", json!({ "auth": auth })),
        ("/_matrix/client/v3/account/password", json!({ "new_password": "x", "auth": auth })),
    ] {
        let answer = alice.api.post(target, body).await.unwrap();
        answer.expect_error(403, "M_FORBIDDEN").unwrap();
    }
    let bob = support::user("bob").await;
    let answer =
        bob.api.post(target, json!({ "devices": [bob.device], "auth": auth })).await.unwrap();
    assert!(matches!(answer.status, 401 | 403), "{answer:?}");
    third.api.get(WHOAMI).await.unwrap().ok().unwrap();
    let mut body = wanted;
    body["auth"] = auth.clone();
    alice.api.post(target, body.clone()).await.unwrap().ok().unwrap();
    // It has served.
    body = json!({ "devices": [third.device], "auth": { "session": auth["session"] } });
    let answer = alice.api.post(target, body).await.unwrap();
    assert!(matches!(answer.status, 401 | 403), "{answer:?}");
    third.api.get(WHOAMI).await.unwrap().ok().unwrap();
    alice.login().await.unwrap();
}

/// No word in a room, and no name of one, makes anybody an administrator.
#[tokio::test]
async fn nothing_that_is_said_in_a_room_commands_the_server() {
    let server = support::server().await;
    let mallory = support::user("mallory").await;
    let victim = support::user("victim").await;
    let alias = format!("admins-{}", random::suffix().unwrap());
    for name in ["admins", "admin", &alias] {
        let target =
            path("/_matrix/client/v3/directory/room/{}", &[&format!("#{name}:{}", server.name())]);
        let room = mallory.create_public_room().await.unwrap();
        let _ = mallory.api.put(&target, json!({ "room_id": room })).await.unwrap();
        for words in
            ["!admin users reset-password", "\\!admin users list", "@conduit users", "/admin"]
        {
            mallory.say(&room, &format!("{words} {}", victim.id)).await.unwrap();
        }
    }
    for (method, target) in [
        (Method::GET, "/_synapse/admin/v2/users".to_owned()),
        (Method::POST, path("/_synapse/admin/v1/reset_password/{}", &[&victim.id])),
        (Method::GET, path("/_matrix/client/v3/admin/whois/{}", &[&victim.id])),
        (Method::PUT, path("/_matrix/client/v1/admin/lock/{}", &[&victim.id])),
        (Method::GET, "/metrics".to_owned()),
        (Method::GET, "/debug".to_owned()),
    ] {
        let body = (method != Method::GET).then(|| json!({ "locked": true, "new_password": "x" }));
        let answer = mallory.api.request(method, &target, body.as_ref()).await.unwrap();
        assert!(matches!(answer.status, 403 | 404), "{answer:?}");
    }
    victim.login().await.unwrap();
}

/// Of many who want the same name at the same time one gets it, by whatever way they register.
#[tokio::test]
async fn of_many_who_want_a_name_one_gets_it() {
    let api = support::anonymous().await;
    for _ in 0..3 {
        let name = format!("wanted-{}", random::suffix().unwrap());
        let body =
            |number: usize| json!({ "username": name, "password": format!("{PASSWORD}{number}") });
        let all = (0..20).map(|number| api.register(body(number)));
        let answers = futures_util::future::join_all(all).await;
        let mut winners = Vec::new();
        for (number, answer) in answers.into_iter().enumerate() {
            let answer = answer.unwrap();
            match answer.status {
                200 => winners.push((number, text(&answer.body, "/user_id").unwrap().to_owned())),
                _ => {
                    answer.expect_error(400, "M_USER_IN_USE").unwrap();
                }
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        for number in 0..20 {
            let password = format!("{PASSWORD}{number}");
            let answer = api.post(LOGIN, with_password(&winners[0].1, &password)).await.unwrap();
            assert_eq!(answer.status == 200, number == winners[0].0, "{answer:?}");
        }
    }
}

/// An answer without what differs from one question to another.
fn essence(answer: &Answer, names: &[&str]) -> (u16, String) {
    let mut text = answer.body.to_string();
    for name in names {
        text = text.replace(name, "NAME");
    }
    (answer.status, text)
}

/// Whoever asks for something that they may not know of is told the same as if it were not there.
#[tokio::test]
async fn what_is_not_there_and_what_is_hidden_look_the_same() {
    let server = support::server().await;
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let hidden = alice.create_room(json!({ "preset": "private_chat", "name": "x" })).await.unwrap();
    let event = alice.say(&hidden, "x").await.unwrap();
    let nowhere = format!("!{}", "A".repeat(43));
    let nothing = format!("${}", "A".repeat(43));
    let names = [hidden.as_str(), &nowhere, &event, &nothing];
    for template in [
        "/_matrix/client/v3/rooms/{}/event/{}",
        "/_matrix/client/v3/rooms/{}/context/{}",
        "/_matrix/client/v1/rooms/{}/relations/{}",
        "/_matrix/client/v3/rooms/{}/messages?dir=b",
        "/_matrix/client/v3/rooms/{}/state",
        "/_matrix/client/v3/rooms/{}/members",
        "/_matrix/client/v3/rooms/{}/joined_members",
        "/_matrix/client/v3/rooms/{}/initialSync",
        "/_matrix/client/v3/rooms/{}/aliases",
        "/_matrix/client/v1/rooms/{}/threads",
        "/_matrix/client/v1/rooms/{}/hierarchy",
        "/_matrix/client/v1/rooms/{}/timestamp_to_event?dir=f&ts=0",
        "/_matrix/client/v1/room_summary/{}",
    ] {
        let ask = async |room: &str, event: &str| {
            bob.api.get(&path(template, &[room, event])).await.unwrap()
        };
        let (known, unknown) = (ask(&hidden, &event).await, ask(&nowhere, &nothing).await);
        assert_eq!(essence(&known, &names), essence(&unknown, &names), "{template}");
        assert!(matches!(known.status, 403 | 404), "{known:?}");
    }
    let known = bob.api.get(&path("/_matrix/client/v3/events/{}", &[&event])).await.unwrap();
    let unknown = bob.api.get(&path("/_matrix/client/v3/events/{}", &[&nothing])).await.unwrap();
    assert_eq!(essence(&known, &names), essence(&unknown, &names));
    assert_others_are_served(server).await;
}

const MARKUP: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>";

/// Whatever is put into any page for people, nothing of it runs, and no other page shows it inside.
#[tokio::test]
async fn every_page_for_people_is_a_safe_one() {
    let server = support::server_with(&[("REGISTRATION__MODE", "token")]).await;
    let api = Api::new(&server).unwrap();
    let body = json!({ "username": "x", "password": PASSWORD });
    let asked = api.post("/_matrix/client/v3/register", body).await.unwrap();
    let session = text(&asked.body, "/session").unwrap().to_owned();
    let parameters = [
        "session",
        "token",
        "sid",
        "client_secret",
        "user_id",
        "device_id",
        "redirectUrl",
        "next_link",
        "initial_device_display_name",
        "loginToken",
        "error",
        "pushkey",
        "app_id",
        "x",
    ];
    let mut pages = 0;
    for endpoint in endpoints::of("client-api") {
        for fill in [MARKUP, "m.login.registration_token"] {
            let part = |part: &str| {
                if part.starts_with('{') { path("{}", &[fill]) } else { part.to_owned() }
            };
            let target = endpoint.path.split('/').map(part).collect::<Vec<_>>().join("/");
            let mut queries = vec![String::new(), path("?session={}", &[&session])];
            queries.extend(
                parameters
                    .map(|name| path(&format!("?session={{}}&{name}={{}}"), &[&session, MARKUP])),
            );
            for query in queries {
                let target = format!("{target}{query}");
                let answer = api
                    .raw(
                        endpoint.method.clone(),
                        &target,
                        "application/x-www-form-urlencoded",
                        path("token={}&password={}&agree={}", &[MARKUP, MARKUP, MARKUP]),
                    )
                    .await
                    .unwrap();
                let kind =
                    answer.headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
                if !kind.starts_with("text/html") {
                    break;
                }
                pages += 1;
                let policy = answer.headers["content-security-policy"].to_str().unwrap();
                assert!(policy.contains("frame-ancestors 'none'"), "{target}: {policy}");
                assert!(policy.contains("default-src 'none'"), "{target}: {policy}");
                assert!(!policy.contains("unsafe-inline"), "{target}: {policy}");
                let html = String::from_utf8_lossy(&answer.bytes);
                assert!(
                    !html.contains("<script>alert") && !html.contains("<img src=x"),
                    "{target}: {html}"
                );
            }
        }
    }
    assert!(pages > 20, "{pages}");
}

/// Other websites may ask, without the cookies and log-ins of who visits them.
#[tokio::test]
async fn every_answer_says_what_browsers_may_do_with_it() {
    let alice = support::user("alice").await;
    let anonymous = support::anonymous().await;
    for endpoint in endpoints::of("client-api") {
        let part = |part: &str| if part.starts_with('{') { "x" } else { part }.to_owned();
        let target = endpoint.path.split('/').map(part).collect::<Vec<_>>().join("/");
        if target.ends_with("/sync") || target.ends_with("/events") {
            continue;
        }
        let request = anonymous
            .builder(endpoint.method.clone(), &target)
            .header("Origin", "https://evil.example");
        let answer = request.send().await.unwrap();
        let header =
            |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("access-control-allow-origin").as_deref(), Some("*"), "{target}");
        assert_eq!(header("access-control-allow-credentials"), None, "{target}");
        assert_eq!(header("set-cookie"), None, "{target}");
    }
    // A cookie lets nobody in.
    let request = anonymous
        .builder(Method::GET, WHOAMI)
        .header("Cookie", format!("access_token={}", alice.token));
    assert_eq!(request.send().await.unwrap().status().as_u16(), 401);
}
