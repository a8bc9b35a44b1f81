//! Tests of validating e-mail addresses and of what they serve for.

use futures_util::future::join_all;
use ruma::{UserId, server_name};
use serde_json::{Value, json};

use super::*;
use crate::{
    accounts::{
        attempts, deactivate,
        devices::NewDevice,
        login,
        password::{self, LogOut},
        register::{self, NewAccount, RegisterError},
        uia::{self, Failure, Outcome, Proof, Stage, Wanted},
    },
    outside::Letter,
    testing::{TestEngine, config, on_each_database_with},
};

const SECRET: &str = "a_secret.of=the-client";

fn settings(tell_whether_known: bool) -> crate::Config {
    let mut config = config(server_name!("test"));
    config.public_url = Some("https://matrix.test/".to_owned());
    let (app_name, next_link_hosts) = ("Chat".to_owned(), vec!["app.test".to_owned()]);
    let allowed_domains = Vec::new();
    config.email = Some(Email {
        app_name,
        tell_whether_known,
        next_link_hosts,
        allowed_domains,
        ..Email::default()
    });
    config
}

fn wanted(purpose: Purpose, address: &str, send_attempt: i64) -> Request {
    let (address, client_secret) = (address.to_owned(), SECRET.to_owned());
    Request { purpose, address, client_secret, send_attempt, next_link: None }
}

/// The only letter that has come in, with its token if it has one.
fn letter(test: &TestEngine) -> (Letter, Option<String>) {
    let mut letters = test.world.letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter = letters.remove(0);
    let token = letter.text.split("token=").nth(1);
    let token = token.and_then(|rest| rest.lines().next()).map(str::to_owned);
    (letter, token)
}

fn submission(session_id: &str, token: &str) -> Submission {
    let (session_id, client_secret) = (session_id.to_owned(), SECRET.to_owned());
    Submission { session_id, client_secret, token: token.to_owned() }
}

/// A session whose address is validated.
async fn confirmed(test: &TestEngine, purpose: Purpose, address: &str) -> String {
    let session = request(&test.engine, wanted(purpose, address, 1)).await.unwrap();
    let token = letter(test).1.unwrap();
    submit(&test.engine, &submission(&session, &token)).await.unwrap();
    session
}

/// Makes an account with that address.
async fn account(test: &TestEngine, name: &str, address: &str) {
    let session = confirmed(test, Purpose::Register, address).await;
    let proof = prove(test, Purpose::Register, &session).await.unwrap();
    let password = Some("secret".to_owned());
    let new = NewAccount { name: Some(name.to_owned()), password, ..NewAccount::default() };
    register::register(&test.engine, new, &proof).await.unwrap();
}

/// Passes the stage of a purpose, or tells why not.
async fn prove(test: &TestEngine, purpose: Purpose, sid: &str) -> Result<Proof, Option<Failure>> {
    let stages = [Stage::Email(purpose)];
    let wanted = Wanted { action: "POST /x", user: None, flows: &[&stages] };
    let credentials = json!({ "sid": sid, "client_secret": SECRET });
    let auth = json!({ "type": "m.login.email.identity", "threepid_creds": credentials });
    let Value::Object(body) = json!({ "auth": auth }) else { unreachable!() };
    match uia::authenticate(&test.engine, &wanted, body).await.unwrap() {
        Outcome::Proceed(proof) => Ok(proof),
        Outcome::Continue { failure, .. } => Err(failure),
    }
}

#[tokio::test]
async fn an_address_is_validated_by_the_token_of_its_letter_only() {
    on_each_database_with(settings(false), async |test| {
        let engine = &test.engine;
        let asked = wanted(Purpose::Register, "Alice@Example.ORG", 1);
        let session = request(engine, asked).await.unwrap();
        let (letter, token) = letter(&test);
        assert_eq!(letter.to, "alice@example.org");
        assert!(letter.text.contains("https://matrix.test/_matrix/"), "{}", letter.text);
        let token = token.unwrap();
        let before = prove(&test, Purpose::Register, &session).await.unwrap_err();
        assert_eq!(before, Some(Failure::NotValidated));
        let wrong = Submission { client_secret: "x".to_owned(), ..submission(&session, &token) };
        for wrong in [submission(&session, "x"), submission(&session, ""), wrong] {
            assert!(matches!(submit(engine, &wrong).await, Err(SubmitError::Wrong)));
        }
        assert!(matches!(
            submit(engine, &submission("x", &token)).await,
            Err(SubmitError::Expired)
        ));
        look(engine, &submission(&session, &token)).await.unwrap();
        let looked = prove(&test, Purpose::Register, &session).await.unwrap_err();
        assert_eq!(looked, Some(Failure::NotValidated), "looking validates nothing");
        submit(engine, &submission(&session, &token)).await.unwrap();
        for other in [Purpose::Password, Purpose::Add] {
            assert!(prove(&test, other, &session).await.is_err(), "{other:?}");
        }
        let proof = prove(&test, Purpose::Register, &session).await.unwrap();
        assert_eq!(proof.email.unwrap().address, "alice@example.org");
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_letter_is_sent_for_higher_attempts_only() {
    on_each_database_with(settings(false), async |test| {
        let engine = &test.engine;
        let attempt =
            async |number| request(engine, wanted(Purpose::Add, "a@x.org", number)).await.unwrap();
        let first = attempt(1).await;
        let old_token = letter(&test).1.unwrap();
        assert_eq!(attempt(1).await, first);
        assert_eq!(attempt(0).await, first);
        assert!(test.world.letters().is_empty());
        assert_eq!(attempt(7).await, first);
        let token = letter(&test).1.unwrap();
        assert!(submit(engine, &submission(&first, &old_token)).await.is_err());
        submit(engine, &submission(&first, &token)).await.unwrap();
        let other =
            Request { client_secret: "another".to_owned(), ..wanted(Purpose::Add, "a@x.org", 1) };
        assert_ne!(request(engine, other).await.unwrap(), first);
        assert_eq!(test.world.letters().len(), 1);
        test.clock.advance(LIFETIME_MS);
        let late = submit(engine, &submission(&first, &token)).await;
        assert!(matches!(late, Err(SubmitError::Expired)));
        test.clock.advance(1);
        assert_ne!(attempt(1).await, first, "a session that has expired is made anew");
        assert_eq!(test.world.letters().len(), 1);
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_letter_that_was_not_sent_is_sent_by_the_same_attempt() {
    on_each_database_with(settings(false), async |test| {
        let ask = async |number| {
            request(&test.engine, wanted(Purpose::Add, "a@refused.example", number)).await
        };
        for number in [1, 1, 7, 7] {
            assert!(matches!(ask(number).await, Err(RequestError::NotSent)), "{number}");
        }
        ask(6).await.unwrap();
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn guesses_by_an_address_do_not_tell_whose_it_is() {
    on_each_database_with(settings(false), async |test| {
        let engine = &test.engine;
        account(&test, "alice", "alice@x.org").await;
        let named = async |identifier: Value| {
            let Value::Object(auth) = json!({ "identifier": identifier }) else { unreachable!() };
            uia::named(engine, &auth).await.unwrap().unwrap()
        };
        let by = async |address: &str| {
            let kind = "m.id.thirdparty";
            named(json!({ "type": kind, "medium": "email", "address": address })).await
        };
        let count = async |named: &uia::Named| {
            attempts::count_password(engine, [192, 0, 2, 1].into(), named).await
        };
        let by_name = named(json!({ "type": "m.id.user", "user": "alice" })).await;
        while count(&by_name).await.is_ok() {}
        let mut allowed = vec![];
        for address in ["alice@x.org", "nobody@x.org"] {
            let by_address = by(address).await;
            let mut number = 0;
            while count(&by_address).await.is_ok() {
                number += 1;
            }
            allowed.push(number);
        }
        assert_eq!(allowed, [10, 10]);
        test.clock.advance(5 * 60 * 1_000);
        for _ in 0..20 {
            let by_address = by("Alice@x.org").await;
            count(&by_address).await.unwrap();
            let password = "secret".to_owned();
            let device = NewDevice::default();
            login::with_password(engine, &by_address, password, device).await.unwrap();
        }
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn who_has_an_account_only_the_letter_tells() {
    on_each_database_with(settings(false), async |test| {
        account(&test, "alice", "alice@x.org").await;
        for (purpose, address) in [
            (Purpose::Register, "alice@x.org"),
            (Purpose::Add, "alice@x.org"),
            (Purpose::Password, "nobody@x.org"),
        ] {
            let session = request(&test.engine, wanted(purpose, address, 1)).await.unwrap();
            let (letter, token) = letter(&test);
            assert_eq!((letter.to.as_str(), token), (address, None));
            assert!(prove(&test, purpose, &session).await.is_err());
        }
        test
    })
    .await
    .unwrap();
    on_each_database_with(settings(true), async |test| {
        account(&test, "alice", "alice@x.org").await;
        let ask = async |purpose, address| {
            request(&test.engine, wanted(purpose, address, 1)).await.unwrap_err()
        };
        assert!(matches!(ask(Purpose::Register, "alice@x.org").await, RequestError::InUse));
        assert!(matches!(ask(Purpose::Add, "alice@x.org").await, RequestError::InUse));
        assert!(matches!(ask(Purpose::Password, "b@x.org").await, RequestError::NotFound));
        assert!(test.world.letters().is_empty());
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let test = TestEngine::with(settings(false)).await.unwrap();
    let ask = async |change: &dyn Fn(&mut Request)| {
        let mut asked = wanted(Purpose::Register, "a@x.org", 1);
        change(&mut asked);
        request(&test.engine, asked).await
    };
    let bad_address = ask(&|it| it.address = "a".to_owned()).await;
    assert!(matches!(bad_address, Err(RequestError::BadAddress)));
    for secret in ["", "a b", "ä", &"x".repeat(256)] {
        let answer = ask(&|it| it.client_secret = secret.to_owned()).await;
        assert!(matches!(answer, Err(RequestError::BadSecret)), "{secret:?}");
    }
    for link in ["javascript:alert(1)", "x", "ftp://app.test/", "https://a@app.test/"] {
        let answer = ask(&|it| it.next_link = Some(link.to_owned())).await;
        assert!(matches!(answer, Err(RequestError::BadLink)), "{link}");
    }
    let refused = ask(&|it| it.address = "a@refused.example".to_owned()).await;
    assert!(matches!(refused, Err(RequestError::NotSent)));
    let silent = TestEngine::new().await.unwrap();
    let answer = request(&silent.engine, wanted(Purpose::Register, "a@x.org", 1)).await;
    assert!(matches!(answer, Err(RequestError::Disabled)));
}

#[tokio::test]
async fn a_link_leads_on_only_to_hosts_of_the_settings() {
    on_each_database_with(settings(false), async |test| {
        for (attempt, link, leads_to) in [
            (1, "https://app.test/welcome?a=1", Some("https://app.test/welcome?a=1")),
            (2, "https://app.test.evil.example/", None),
            (3, "https://evil.example/?app.test", None),
        ] {
            let mut asked = wanted(Purpose::Register, "a@x.org", attempt);
            asked.next_link = Some(link.to_owned());
            let session = request(&test.engine, asked).await.unwrap();
            let token = letter(&test).1.unwrap();
            let shown = submit(&test.engine, &submission(&session, &token)).await.unwrap();
            assert_eq!(shown.next_link.as_deref(), leads_to);
        }
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn of_two_accounts_one_gets_the_address() {
    on_each_database_with(settings(false), async |test| {
        let mut sessions = Vec::new();
        for secret in ["one", "two"] {
            let asked = Request {
                client_secret: secret.to_owned(),
                ..wanted(Purpose::Register, "a@x.org", 1)
            };
            let session_id = request(&test.engine, asked).await.unwrap();
            let token = letter(&test).1.unwrap();
            let client_secret = secret.to_owned();
            let shown = Submission { session_id: session_id.clone(), client_secret, token };
            submit(&test.engine, &shown).await.unwrap();
            sessions.push(session_id);
        }
        let register = sessions.iter().enumerate().map(async |(number, session)| {
            let name = Some(format!("user{number}"));
            let email = validated_before(&test.engine, session, Purpose::Register).await.unwrap();
            let new = NewAccount { name, email, ..NewAccount::default() };
            register::make(&test.engine, new, Change::new()).await
        });
        let outcomes = join_all(register).await;
        let made = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(made, 1);
        assert!(outcomes.iter().any(|outcome| matches!(
            outcome,
            Err(RegisterError::EmailInUse | RegisterError::UsedUp)
        )));
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn addresses_are_added_listed_and_removed() {
    on_each_database_with(settings(false), async |test| {
        let engine = &test.engine;
        account(&test, "alice", "alice@x.org").await;
        let alice = UserId::parse("@alice:test").unwrap();
        let (bob, _) = test.user("bob").await.unwrap();
        let proof = || Proof::none();
        let session_id = confirmed(&test, Purpose::Add, "bob@x.org").await;
        let mine = Credentials { session_id, client_secret: SECRET.to_owned() };
        let foreign = Credentials { client_secret: "x".to_owned(), ..mine.clone() };
        let refused = threepids::add(engine, &bob, &foreign, &proof()).await;
        assert!(matches!(refused, Err(threepids::AddError::NotValidated)));
        threepids::add(engine, &bob, &mine, &proof()).await.unwrap();
        let again = threepids::add(engine, &alice, &mine, &proof()).await;
        assert!(matches!(again, Err(threepids::AddError::NotValidated)), "a session serves once");
        let of = async |user: &UserId| -> Vec<String> {
            let found = threepids::list(engine, user).await.unwrap();
            found.into_iter().map(|it| it.address).collect()
        };
        assert_eq!(of(&bob).await, ["bob@x.org"]);
        threepids::remove(engine, &alice, "email", "bob@x.org").await.unwrap();
        assert_eq!(of(&bob).await, ["bob@x.org"], "it is not alice's to remove");
        threepids::remove(engine, &bob, "email", "BOB@x.org").await.unwrap();
        assert!(of(&bob).await.is_empty());
        assert_eq!(of(&alice).await, ["alice@x.org"]);
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_account_that_was_closed_meanwhile_gets_no_address_and_no_password() {
    on_each_database_with(settings(false), async |test| {
        let engine = &test.engine;
        let (bob, _) = test.user("bob").await.unwrap();
        let session_id = confirmed(&test, Purpose::Add, "bob@x.org").await;
        let credentials = Credentials { session_id, client_secret: SECRET.to_owned() };
        deactivate::deactivate(engine, &bob, false, &Proof::none()).await.unwrap();
        let added = threepids::add(engine, &bob, &credentials, &Proof::none()).await;
        assert!(matches!(added, Err(threepids::AddError::UsedUp)));
        let new = "new".to_owned();
        let set = password::change(engine, &bob, new, LogOut::None, &Proof::none()).await;
        assert!(matches!(set, Err(password::SetPasswordError::UsedUp)));
        assert!(threepids::list(engine, &bob).await.unwrap().is_empty());
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_password_is_set_by_who_reads_the_letters_of_the_account() {
    on_each_database_with(settings(false), async |test| {
        account(&test, "alice", "alice@x.org").await;
        let session = confirmed(&test, Purpose::Password, "alice@x.org").await;
        let proof = prove(&test, Purpose::Password, &session).await.unwrap();
        assert_eq!(proof.user.as_ref().map(|user| user.as_str()), Some("@alice:test"));
        let (alice, new) = (proof.user.clone().unwrap(), "new".to_owned());
        let engine = &test.engine;
        password::change(engine, &alice, new.clone(), LogOut::None, &proof).await.unwrap();
        login::with_password(engine, &"alice".into(), new, NewDevice::default()).await.unwrap();
        test
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn neither_tokens_nor_secrets_are_stored_in_the_clear() {
    let test = TestEngine::with(settings(false)).await.unwrap();
    request(&test.engine, wanted(Purpose::Register, "alice@x.org", 1)).await.unwrap();
    let token = letter(&test).1.unwrap();
    let stored = test.stored_bytes().unwrap();
    let contains = |text: &str| stored.windows(text.len()).any(|it| it == text.as_bytes());
    assert!(contains("alice@x.org"));
    assert!(!contains(&token) && !contains(SECRET));
}
