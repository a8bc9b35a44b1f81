//! Letters about messages that were not read.

use http::Method;
use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, Api, User, path},
    mail::{Letter, MailServer},
    servers::Server,
};

use crate::support;

const SET: &str = "/_matrix/client/v3/pushers/set";

/// Alice and Bob in a room, and Bob's address, to which letters go.
struct Scene {
    server: Server,
    mail: MailServer,
    alice: User,
    bob: User,
    room: String,
    address: String,
}

impl Scene {
    async fn set(minutes: &str) -> Self {
        let mail = MailServer::start().await.unwrap();
        let spec = support::spec();
        let url = format!("http://127.0.0.1:{}", spec.client_port);
        let port = mail.port().to_string();
        let mut spec = spec;
        for (name, value) in [
            ("EMAIL__SMTP_HOST", "127.0.0.1"),
            ("EMAIL__SMTP_PORT", &port),
            ("EMAIL__SMTP_TLS", "none"),
            ("EMAIL__FROM", "Tests <noreply@example.org>"),
            ("EMAIL__APP_NAME", "Tests"),
            ("EMAIL__NOTIFY_AFTER_MINUTES", minutes),
            ("EMAIL__NOTIFY_AGAIN_MINUTES", "0"),
            ("CLIENT__PUBLIC_URL", &url),
        ] {
            spec = spec.with_setting(name, value);
        }
        let server = support::start(spec).await;
        let alice = User::register(&server, "alice").await.unwrap();
        let bob = User::register(&server, "bob").await.unwrap();
        let room = alice.create_room(json!({ "preset": "public_chat", "name": "<b>Den</b>" }));
        let room = room.await.unwrap();
        bob.join(&room, &[]).await.unwrap();
        let address =
            format!("{}@example.org", bob.id.trim_start_matches('@').split(':').next().unwrap());
        let admin = User::admin(&server, "admin").await.unwrap();
        let body = json!({ "threepids": [{ "medium": "email", "address": address }] });
        let target = path("/_synapse/admin/v2/users/{}", &[&bob.id]);
        admin.api.put(&target, body).await.unwrap().ok().unwrap();
        Self { server, mail, alice, bob, room, address }
    }

    fn pusher(&self) -> Value {
        json!({
            "app_id": "m.email", "pushkey": self.address, "kind": "email", "lang": "en",
            "app_display_name": "Email Notifications", "device_display_name": self.address,
            "data": {}, "append": true,
        })
    }

    async fn subscribe(&self) {
        self.bob.api.post(SET, self.pusher()).await.unwrap().ok().unwrap();
    }

    async fn pushers(&self) -> usize {
        let answer = self.bob.api.get("/_matrix/client/v3/pushers").await.unwrap().ok().unwrap();
        answer["pushers"].as_array().unwrap().len()
    }

    /// What is asked of the link of a letter.
    async fn follow(&self, method: Method, letter: &Letter) -> Answer {
        let link = letter.link().unwrap();
        let target = link.strip_prefix(&self.server.client_url()).unwrap();
        let api = Api::new(&self.server).unwrap();
        let mut builder = api.builder(method.clone(), target);
        if method == Method::POST {
            let kind = "application/x-www-form-urlencoded";
            builder = builder.header("Content-Type", kind).body("List-Unsubscribe=One-Click");
        }
        Answer::read(format!("{method} {target}"), builder).await.unwrap()
    }
}

#[tokio::test]
async fn a_letter_says_what_was_missed_and_how_to_have_no_more() {
    let scene = Scene::set("0").await;
    scene.subscribe().await;
    scene.alice.say(&scene.room, "a <script> & ä").await.unwrap();
    let letter = scene.mail.next().await.unwrap();
    assert_eq!(letter.to, [scene.address.as_str()]);
    let Letter { header, text, html, .. } = &letter;
    for (part, wanted) in [
        (header, "Subject: You missed a message on Tests"),
        (header, &format!("List-Unsubscribe: <{}>", letter.link().unwrap())),
        (header, "List-Unsubscribe-Post: List-Unsubscribe=One-Click"),
        (text, "<b>Den</b>\n"),
        (text, ": a <script> & ä\n"),
        (text, &scene.bob.id),
        (html, "&lt;b&gt;Den&lt;/b&gt;"),
        (html, ": a &lt;script&gt; &amp; ä"),
        (html, &scene.bob.id),
    ] {
        assert!(part.contains(wanted), "{wanted} is not in {part}");
    }
    assert!(!html.contains("<script>") && !html.contains("<b>"), "{html}");
    let page = scene.follow(Method::GET, &letter).await.expect_status(200).unwrap();
    assert!(String::from_utf8_lossy(&page.bytes).contains(&scene.address));
    assert_eq!(scene.pushers().await, 1, "looking changes nothing");
    scene.follow(Method::POST, &letter).await.expect_status(200).unwrap();
    assert_eq!(scene.pushers().await, 0);
    for method in [Method::GET, Method::POST] {
        scene.follow(method, &letter).await.expect_status(400).unwrap();
    }
    let api = Api::new(&scene.server).unwrap();
    let target = "/_matrix/client/unstable/email/unsubscribe";
    api.get(target).await.unwrap().expect_status(400).unwrap();
}

#[tokio::test]
async fn what_is_read_in_time_is_not_written_of() {
    let scene = Scene::set("60").await;
    scene.subscribe().await;
    scene.alice.say(&scene.room, "hello").await.unwrap();
    let gateway = starling_conformance::gateway::Gateway::start().await.unwrap();
    let pushkey = gateway.tells(&scene.bob).await.unwrap();
    let event_id = scene.alice.say(&scene.room, "hello again").await.unwrap();
    gateway.wait_for(&pushkey, &event_id).await.unwrap();
    assert!(scene.mail.is_empty().await, "it is not time yet");
}

#[tokio::test]
async fn letters_go_only_to_addresses_of_the_account() {
    let scene = Scene::set("0").await;
    let with = |key: &str, value: Value| {
        let mut body = scene.pusher();
        body[key] = value;
        body
    };
    for address in ["somebody@example.org", "not an address"] {
        let answer = scene.bob.api.post(SET, with("pushkey", json!(address))).await.unwrap();
        answer.expect_error(400, "M_THREEPID_NOT_FOUND").unwrap();
    }
    let answer = scene.alice.api.post(SET, scene.pusher()).await.unwrap();
    answer.expect_error(400, "M_THREEPID_NOT_FOUND").unwrap();
    for body in [with("app_id", json!("org.example")), with("kind", json!("http"))] {
        let answer = scene.bob.api.post(SET, body).await.unwrap();
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    let loud = with("pushkey", json!(scene.address.to_uppercase()));
    scene.bob.api.post(SET, loud).await.unwrap().ok().unwrap();
    assert_eq!(scene.pushers().await, 1);
    let body = json!({ "medium": "email", "address": scene.address });
    let target = "/_matrix/client/v3/account/3pid/delete";
    scene.bob.api.post(target, body).await.unwrap().ok().unwrap();
    assert_eq!(scene.pushers().await, 0, "the letters go with the address");
    let without_mail = support::user("carol").await;
    let mut body = scene.pusher();
    body["pushkey"] = json!("carol@example.org");
    let answer = without_mail.api.post(SET, body).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
}

#[tokio::test]
async fn what_came_meanwhile_is_in_one_letter_also_after_a_restart() {
    let scene = Scene::set("0").await;
    let options = json!({ "preset": "private_chat", "invite": [scene.bob.id], "name": "Apart" });
    scene.subscribe().await;
    scene.server.stop().unwrap();
    scene.server.resume().await.unwrap();
    scene.alice.create_room(options).await.unwrap();
    let letter = scene.mail.next().await.unwrap();
    assert!(letter.text.contains("invites you"), "{}", letter.text);
    let secret = json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "xyz" });
    scene.alice.send(&scene.room, "m.room.encrypted", secret).await.unwrap();
    let letter = scene.mail.next().await.unwrap();
    assert!(letter.text.contains("sent an encrypted message"), "{}", letter.text);
    assert!(!letter.text.contains("invites you") && !letter.text.contains("xyz"));
}

/// The account asked for letters, not the device: whoever is logged in nowhere wants them most.
#[tokio::test]
async fn letters_come_also_to_who_is_logged_in_nowhere() {
    let scene = Scene::set("0").await;
    scene.subscribe().await;
    let shown = scene.bob.api.get("/_matrix/client/v3/pushers").await.unwrap().ok().unwrap();
    assert!(shown["pushers"][0].get("org.matrix.msc3881.device_id").is_none(), "{shown}");
    scene.bob.api.post("/_matrix/client/v3/logout", json!({})).await.unwrap().ok().unwrap();
    scene.alice.say(&scene.room, "after the log-out").await.unwrap();
    let letter = scene.mail.next().await.unwrap();
    assert!(letter.text.contains("after the log-out"), "{}", letter.text);
    let again = scene.bob.login().await.unwrap();
    again.api.post("/_matrix/client/v3/logout/all", json!({})).await.unwrap().ok().unwrap();
    scene.alice.say(&scene.room, "after all of them").await.unwrap();
    let letter = scene.mail.next().await.unwrap();
    assert!(letter.text.contains("after all of them"), "{}", letter.text);
    let admin = User::admin(&scene.server, "chief").await.unwrap();
    let target = format!("/_synapse/admin/v1/deactivate/{}", scene.bob.id);
    admin.api.post(&target, json!({ "erase": false })).await.unwrap().ok().unwrap();
    let target = format!("/_synapse/admin/v1/users/{}/pushers", scene.bob.id);
    let shown = admin.api.get(&target).await.unwrap().ok().unwrap();
    assert_eq!(shown["total"], 0, "{shown}");
}
