//! E-mail addresses of accounts: `…/email/requestToken`, `/account/3pid`, `m.login.email.identity`, the
//! page to which letters lead, and log-in by `m.id.thirdparty`.

mod tls;

use http::Method;
use serde_json::{Value, json};
use starling_conformance::{
    client::{Answer, Api, PASSWORD, User, text},
    mail::MailServer,
    random,
    servers::Server,
};

use crate::support;

const CLIENT: &str = "/_matrix/client/v3";
const FORM: &str = "application/x-www-form-urlencoded";

/// A server that sends letters, and where they go.
struct Scene {
    server: Server,
    mail: MailServer,
    api: Api,
}

async fn scene(settings: &[(&str, &str)]) -> Scene {
    let mail = MailServer::start().await.unwrap();
    let mut spec = support::spec();
    let base = format!("http://127.0.0.1:{}", spec.client_port);
    let port = mail.port().to_string();
    for (name, value) in [
        ("CLIENT__PUBLIC_URL", base.as_str()),
        ("EMAIL__SMTP_HOST", "127.0.0.1"),
        ("EMAIL__SMTP_PORT", &port),
        ("EMAIL__SMTP_TLS", "none"),
        ("EMAIL__FROM", "Test <noreply@starling.test>"),
        ("EMAIL__NEXT_LINK_HOSTS", "127.0.0.1"),
    ]
    .iter()
    .chain(settings)
    {
        spec = spec.with_setting(name, value);
    }
    let server = support::start(spec).await;
    let api = Api::new(&server).unwrap();
    Scene { server, mail, api }
}

/// A validation that a client has begun.
struct Begun {
    sid: String,
    secret: String,
}

impl Begun {
    fn credentials(&self) -> Value {
        json!({ "sid": self.sid, "client_secret": self.secret })
    }

    fn auth(&self, session: &Value) -> Value {
        json!({ "type": "m.login.email.identity", "threepid_creds": self.credentials(),
                "session": session })
    }
}

impl Scene {
    async fn try_begin(&self, of: &str, email: &str, more: Value) -> (String, Answer) {
        let secret = random::suffix().unwrap();
        let mut body = json!({ "client_secret": secret, "email": email, "send_attempt": 1 });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        let path = format!("{CLIENT}/{of}/email/requestToken");
        (secret, self.api.post(&path, body).await.unwrap())
    }

    async fn begin(&self, of: &str, email: &str) -> Begun {
        let (secret, answer) = self.try_begin(of, email, json!({})).await;
        let body = answer.ok().unwrap();
        Begun { sid: text(&body, "/sid").unwrap().to_owned(), secret }
    }

    /// Follows the link of the next letter to its page, and sends the form of that.
    async fn confirm(&self) -> Answer {
        let link = self.mail.next().await.unwrap().link().unwrap().to_owned();
        let (_, path) = link.split_once("/_matrix/").unwrap();
        let page = self.api.get(&format!("/_matrix/{path}")).await.unwrap();
        assert_eq!(page.status, 200, "{page:?}");
        is_a_safe_page(&page);
        let (path, query) = path.split_once('?').unwrap();
        let body = format!("{query}&page=true");
        self.api.raw(Method::POST, &format!("/_matrix/{path}"), FORM, body).await.unwrap()
    }

    async fn log_in(&self, identifier: Value, password: &str) -> Answer {
        let body = json!({ "type": "m.login.password", "identifier": identifier,
                           "password": password });
        self.api.post(&format!("{CLIENT}/login"), body).await.unwrap()
    }

    /// Registers an account with that address.
    async fn register(&self, email: &str) -> User {
        let begun = self.begin("register", email).await;
        self.confirm().await;
        let mut body = json!({ "username": format!("a{}", random::suffix().unwrap()),
                               "password": PASSWORD });
        let path = format!("{CLIENT}/register");
        let wanted = self.api.post(&path, body.clone()).await.unwrap();
        body["auth"] = begun.auth(&wanted.body["session"]);
        User::from_login(&self.api, self.api.post(&path, body).await.unwrap()).unwrap()
    }
}

fn is_a_safe_page(page: &Answer) {
    let header = |name: &str| page.headers[name].to_str().unwrap();
    assert!(header("content-type").starts_with("text/html"), "{page:?}");
    let policy = header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("cache-control"), "no-store");
}

fn by_email(address: &str) -> Value {
    json!({ "type": "m.id.thirdparty", "medium": "email", "address": address })
}

fn with_password(user: &User) -> Value {
    let identifier = json!({ "type": "m.id.user", "user": user.id });
    json!({ "type": "m.login.password", "identifier": identifier, "password": PASSWORD })
}

async fn addresses(user: &User) -> Vec<Value> {
    let body = user.api.get(&format!("{CLIENT}/account/3pid")).await.unwrap().ok().unwrap();
    body["threepids"].as_array().unwrap().clone()
}

#[tokio::test]
async fn one_registers_with_an_address_and_logs_in_by_it() {
    let scene = scene(&[]).await;
    let body = json!({ "username": "alice", "password": PASSWORD });
    let wanted = scene.api.post(&format!("{CLIENT}/register"), body).await.unwrap();
    let flows = json!([{ "stages": ["m.login.dummy"] }, { "stages": ["m.login.email.identity"] }]);
    assert_eq!(wanted.body["flows"], flows);
    let alice = scene.register("Alice@x.org").await;
    let addresses = addresses(&alice).await;
    assert_eq!(addresses.len(), 1);
    assert_eq!(addresses[0]["address"], "alice@x.org");
    assert!(addresses[0]["validated_at"].is_u64() && addresses[0]["added_at"].is_u64());
    scene.log_in(by_email("ALICE@x.org"), PASSWORD).await.ok().unwrap();
    let wrong = scene.log_in(by_email("alice@x.org"), "wrong").await;
    let unknown = scene.log_in(by_email("nobody@x.org"), PASSWORD).await;
    let phone = json!({ "type": "m.id.phone", "country": "IT", "phone": "06 1234" });
    let phone = scene.log_in(phone, PASSWORD).await;
    let wrong = wrong.expect_error(403, "M_FORBIDDEN").unwrap();
    for other in [unknown, phone] {
        assert_eq!(other.expect_error(403, "M_FORBIDDEN").unwrap(), wrong);
    }
}

#[tokio::test]
async fn an_address_that_is_required_must_be_validated() {
    let scene = scene(&[("REGISTRATION__REQUIRE_EMAIL", "true")]).await;
    let body = json!({ "username": "alice", "password": PASSWORD });
    let path = format!("{CLIENT}/register");
    let wanted = scene.api.post(&path, body.clone()).await.unwrap();
    assert_eq!(wanted.body["flows"], json!([{ "stages": ["m.login.email.identity"] }]));
    let begun = scene.begin("register", "alice@x.org").await;
    let mut body = body;
    body["auth"] = begun.auth(&wanted.body["session"]);
    let early = scene.api.post(&path, body.clone()).await.unwrap();
    early.expect_error(401, "M_UNAUTHORIZED").unwrap();
    scene.confirm().await;
    scene.api.post(&path, body).await.unwrap().ok().unwrap();
}

#[tokio::test]
async fn a_forgotten_password_is_set_anew_by_who_reads_the_letters() {
    let scene = scene(&[]).await;
    let alice = scene.register("alice@x.org").await;
    let begun = scene.begin("account/password", "alice@x.org").await;
    let done = scene.confirm().await;
    assert_eq!(done.status, 200, "{done:?}");
    is_a_safe_page(&done);
    let path = format!("{CLIENT}/account/password");
    let mut body = json!({ "new_password": "another one" });
    let wanted = scene.api.post(&path, body.clone()).await.unwrap();
    body["auth"] = begun.auth(&wanted.body["session"]);
    scene.api.post(&path, body.clone()).await.unwrap().ok().unwrap();
    scene.log_in(by_email("alice@x.org"), "another one").await.ok().unwrap();
    let whoami = alice.api.get(&format!("{CLIENT}/account/whoami")).await.unwrap();
    whoami.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    let wanted = scene.api.post(&path, json!({ "new_password": "third" })).await.unwrap();
    let body = json!({ "new_password": "third", "auth": begun.auth(&wanted.body["session"]) });
    let again = scene.api.post(&path, body).await.unwrap();
    again.expect_error(401, "M_UNAUTHORIZED").unwrap();
}

#[tokio::test]
async fn nobody_sets_a_password_with_the_letter_of_another_purpose_or_account() {
    let scene = scene(&[]).await;
    let alice = scene.register("alice@x.org").await;
    let bob = scene.register("bob@x.org").await;
    let path = format!("{CLIENT}/account/password");
    let wanted = bob.api.post(&path, json!({ "new_password": "x" })).await.unwrap();
    let begun = scene.begin("account/password", "alice@x.org").await;
    scene.confirm().await;
    let body = json!({ "new_password": "x", "auth": begun.auth(&wanted.body["session"]) });
    let other = bob.api.post(&path, body).await.unwrap();
    other.expect_error(403, "M_FORBIDDEN").unwrap();
    let begun = scene.begin("register", "carol@x.org").await;
    scene.confirm().await;
    let wanted = scene.api.post(&path, json!({ "new_password": "x" })).await.unwrap();
    let body = json!({ "new_password": "x", "auth": begun.auth(&wanted.body["session"]) });
    let purpose = scene.api.post(&path, body).await.unwrap();
    purpose.expect_error(401, "M_UNAUTHORIZED").unwrap();
    alice.login().await.unwrap();
}

#[tokio::test]
async fn addresses_are_added_and_removed() {
    let scene = scene(&[]).await;
    let alice = User::register(&scene.server, "alice").await.unwrap();
    let bob = scene.register("bob@x.org").await;
    let add = async |user: &User, begun: &Begun| {
        let mut body = begun.credentials();
        body["auth"] = with_password(user);
        user.api.post(&format!("{CLIENT}/account/3pid/add"), body).await.unwrap()
    };
    let begun = scene.begin("account/3pid", "alice@x.org").await;
    add(&alice, &begun).await.expect_error(403, "M_THREEPID_AUTH_FAILED").unwrap();
    scene.confirm().await;
    let path = format!("{CLIENT}/account/3pid/add");
    let unproved = alice.api.post(&path, begun.credentials()).await.unwrap();
    unproved.expect_status(401).unwrap();
    add(&alice, &begun).await.ok().unwrap();
    assert_eq!(addresses(&alice).await[0]["address"], "alice@x.org");

    let named = json!({ "medium": "email", "address": "alice@x.org" });
    let delete = format!("{CLIENT}/account/3pid/delete");
    let answer = bob.api.post(&delete, named.clone()).await.unwrap().ok().unwrap();
    assert_eq!(answer["id_server_unbind_result"], "no-support");
    assert_eq!(addresses(&alice).await.len(), 1);
    alice.api.post(&delete, named.clone()).await.unwrap().ok().unwrap();
    assert!(addresses(&alice).await.is_empty());
    let unbind = format!("{CLIENT}/account/3pid/unbind");
    let answer = alice.api.post(&unbind, named).await.unwrap().ok().unwrap();
    assert_eq!(answer["id_server_unbind_result"], "no-support");
}

#[tokio::test]
async fn identity_servers_and_telephone_numbers_are_refused() {
    let scene = scene(&[]).await;
    let alice = User::register(&scene.server, "alice").await.unwrap();
    let bind = json!({ "client_secret": "x", "sid": "x", "id_server": "id.example",
                       "id_access_token": "x" });
    let old = json!({ "three_pid_creds": bind });
    for (address, body) in [("3pid/bind", bind), ("3pid", old)] {
        let answer = alice.api.post(&format!("{CLIENT}/account/{address}"), body).await.unwrap();
        answer.expect_error(400, "M_SERVER_NOT_TRUSTED").unwrap();
    }
    let body = json!({ "client_secret": "x", "country": "IT", "phone_number": "06 1234",
                       "send_attempt": 1 });
    for (address, status, errcode) in [
        ("register", 403, "M_THREEPID_DENIED"),
        ("account/password", 403, "M_THREEPID_DENIED"),
        ("account/3pid", 400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"),
    ] {
        let path = format!("{CLIENT}/{address}/msisdn/requestToken");
        let answer = scene.api.post(&path, body.clone()).await.unwrap();
        answer.expect_error(status, errcode).unwrap();
        let mut elsewhere = body.clone();
        elsewhere["id_server"] = json!("id.example");
        let answer = scene.api.post(&path, elsewhere).await.unwrap();
        answer.expect_error(400, "M_SERVER_NOT_TRUSTED").unwrap();
    }
}

#[tokio::test]
async fn a_named_identity_server_is_ignored_where_this_one_validates() {
    let scene = scene(&[]).await;
    let named = json!({ "id_server": "id.example", "id_access_token": "x" });
    let (_, answer) = scene.try_begin("register", "a@x.org", named).await;
    answer.ok().unwrap();
    scene.mail.next().await.unwrap();
}

#[tokio::test]
async fn addresses_are_of_the_domains_that_are_allowed() {
    let scene = scene(&[("EMAIL__ALLOWED_DOMAINS", r#"["X.org"]"#)]).await;
    for of in ["register", "account/3pid"] {
        for email in ["a@y.org", "a@sub.x.org", "x.org@y.org"] {
            let (_, answer) = scene.try_begin(of, email, json!({})).await;
            answer.expect_error(403, "M_THREEPID_DENIED").unwrap();
        }
        scene.begin(of, "a@x.ORG").await;
        scene.mail.next().await.unwrap();
    }
    let (_, answer) = scene.try_begin("account/3pid", "nothing", json!({})).await;
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
}

#[tokio::test]
async fn who_is_here_only_the_letters_tell_unless_the_settings_do() {
    let quiet = scene(&[]).await;
    quiet.register("alice@x.org").await;
    for (of, email) in [
        ("register", "alice@x.org"),
        ("account/3pid", "alice@x.org"),
        ("account/password", "nobody@x.org"),
    ] {
        quiet.begin(of, email).await;
        let letter = quiet.mail.next().await.unwrap();
        assert_eq!(letter.to, [email]);
        assert!(letter.link().is_err(), "{letter:?}");
    }
    let telling = scene(&[("EMAIL__TELL_WHETHER_KNOWN", "true")]).await;
    telling.register("alice@x.org").await;
    for (of, email, errcode) in [
        ("register", "alice@x.org", "M_THREEPID_IN_USE"),
        ("account/3pid", "alice@x.org", "M_THREEPID_IN_USE"),
        ("account/password", "nobody@x.org", "M_THREEPID_NOT_FOUND"),
    ] {
        let (_, answer) = telling.try_begin(of, email, json!({})).await;
        answer.expect_error(400, errcode).unwrap();
    }
    assert!(telling.mail.is_empty().await);
}

#[tokio::test]
async fn malformed_requests_and_a_flood_of_them_are_refused() {
    let scene = scene(&[("RATE_LIMITS__ENABLED", "true")]).await;
    for (email, more) in [
        ("nobody", json!({})),
        ("a@x.org", json!({ "client_secret": "not opaque" })),
        ("a@x.org", json!({ "next_link": "javascript:alert(1)" })),
        ("a@x.org", json!({ "send_attempt": -1 })),
    ] {
        let (_, answer) = scene.try_begin("register", email, more).await;
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    let path = format!("{CLIENT}/register/email/requestToken");
    let answer = scene.api.post(&path, json!({ "email": "a@x.org" })).await.unwrap();
    answer.expect_error(400, "M_MISSING_PARAM").unwrap();
    let mut refused = None;
    for _ in 0..10 {
        let (_, answer) = scene.try_begin("register", "victim@x.org", json!({})).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("ten letters went to one address");
    assert!(refused.headers.contains_key("retry-after"));
    refused.expect_error(429, "M_LIMIT_EXCEEDED").unwrap();
}

#[tokio::test]
async fn without_a_mail_server_there_are_no_addresses() {
    let api = support::anonymous().await;
    let body = json!({ "client_secret": "x", "email": "a@x.org", "send_attempt": 1 });
    for (address, status, errcode) in [
        ("register", 403, "M_THREEPID_DENIED"),
        ("account/password", 403, "M_THREEPID_DENIED"),
        ("account/3pid", 400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"),
    ] {
        let path = format!("{CLIENT}/{address}/email/requestToken");
        let answer = api.post(&path, body.clone()).await.unwrap();
        answer.expect_error(status, errcode).unwrap();
        let mut elsewhere = body.clone();
        elsewhere["id_server"] = json!("id.example");
        let answer = api.post(&path, elsewhere).await.unwrap();
        answer.expect_error(400, "M_SERVER_NOT_TRUSTED").unwrap();
    }
}

#[tokio::test]
async fn the_page_leads_on_only_where_it_may() {
    let scene = scene(&[]).await;
    let versions = format!("{}/_matrix/client/versions", scene.server.client_url());
    let (_, answer) =
        scene.try_begin("register", "a@x.org", json!({ "next_link": versions })).await;
    answer.ok().unwrap();
    let led = scene.confirm().await;
    assert!(led.body["versions"].is_array(), "{led:?}");
    let elsewhere = json!({ "next_link": "https://evil.example/" });
    let (_, answer) = scene.try_begin("register", "b@x.org", elsewhere).await;
    answer.ok().unwrap();
    let stays = scene.confirm().await;
    assert_eq!(stays.status, 200, "{stays:?}");
    is_a_safe_page(&stays);
}

#[tokio::test]
async fn clients_may_submit_the_token_themselves() {
    let scene = scene(&[]).await;
    let begun = scene.begin("register", "a@x.org").await;
    let link = scene.mail.next().await.unwrap().link().unwrap().to_owned();
    let token = link.split("token=").nth(1).unwrap();
    let path = "/_matrix/client/unstable/email/submit_token";
    let submit = async |token: &str, sid: &str| {
        let mut body = begun.credentials();
        body["token"] = json!(token);
        body["sid"] = json!(sid);
        scene.api.post(path, body).await.unwrap()
    };
    submit("wrong", &begun.sid).await.expect_error(400, "M_TOKEN_INCORRECT").unwrap();
    submit(token, "unknown").await.expect_error(400, "M_SESSION_EXPIRED").unwrap();
    let answer = submit(token, &begun.sid).await.ok().unwrap();
    assert_eq!(answer, json!({ "success": true }));
    let broken = scene.api.get(&format!("{path}?sid=%3Cscript%3E")).await.unwrap();
    assert_eq!(broken.status, 400);
    is_a_safe_page(&broken);
    let query = "sid=%3Cscript%3E&client_secret=x&token=x";
    let unknown = scene.api.get(&format!("{path}?{query}")).await.unwrap();
    assert_eq!(unknown.status, 400);
    assert!(!String::from_utf8_lossy(&unknown.bytes).contains("<script>"));
}

#[tokio::test]
async fn a_closed_account_gives_its_addresses_back() {
    let scene = scene(&[]).await;
    let alice = scene.register("alice@x.org").await;
    let body = json!({ "auth": with_password(&alice) });
    let path = format!("{CLIENT}/account/deactivate");
    let answer = alice.api.post(&path, body).await.unwrap().ok().unwrap();
    assert_eq!(answer["id_server_unbind_result"], "success");
    let again = scene.register("alice@x.org").await;
    assert_ne!(again.id, alice.id);
}
