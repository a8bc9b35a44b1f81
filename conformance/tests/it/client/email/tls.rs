//! How letters get to the mail server: over TLS that is asked for, from the beginning, or not at all.

use serde_json::json;
use starling_conformance::{
    client::{Answer, Api},
    mail::{MailServer, Security},
    random,
    servers::TestCa,
};

use crate::support;

const HOST: &str = "127.0.0.1";

/// Asks a server with these settings for a letter, to be brought to that mail server.
async fn ask(mail: &MailServer, tls: &str, trusted: &TestCa, more: &[(&str, &str)]) -> Answer {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.crt");
    std::fs::write(&file, trusted.certificate()).unwrap();
    let (port, file) = (mail.port().to_string(), file.display().to_string());
    let mut settings = vec![
        ("CLIENT__PUBLIC_URL", "https://matrix.test"),
        ("EMAIL__SMTP_HOST", HOST),
        ("EMAIL__SMTP_PORT", &port),
        ("EMAIL__SMTP_TLS", tls),
        ("EMAIL__SMTP_CA_FILE", &file),
        ("EMAIL__FROM", "Test <noreply@starling.test>"),
    ];
    settings.extend(more);
    let server = support::server_with(&settings).await;
    let body = json!({ "client_secret": random::suffix().unwrap(), "email": "a@x.org",
                       "send_attempt": 1 });
    let api = Api::new(&server).unwrap();
    api.post("/_matrix/client/v3/register/email/requestToken", body).await.unwrap()
}

async fn secured(security: Security, host: &str) -> MailServer {
    MailServer::start_secured(security, support::ca(), host).await.unwrap()
}

#[tokio::test]
async fn letters_and_passwords_go_over_tls() {
    for (tls, security) in [("starttls", Security::OnDemand), ("tls", Security::Always)] {
        let mail = secured(security, HOST).await;
        let credentials = [("EMAIL__SMTP_USER", "starling"), ("EMAIL__SMTP_PASSWORD", "feathers")];
        ask(&mail, tls, support::ca(), &credentials).await.ok().unwrap();
        let letter = mail.next().await.unwrap();
        assert!(letter.secured, "{tls}: {letter:?}");
        assert_eq!(letter.to, ["a@x.org"]);
        assert_eq!(letter.credentials, Some(("starling".to_owned(), "feathers".to_owned())));
        letter.link().unwrap();
    }
}

#[tokio::test]
async fn nothing_goes_to_whom_nobody_vouches_for() {
    let stranger = TestCa::new().unwrap();
    for (tls, security) in [("starttls", Security::OnDemand), ("tls", Security::Always)] {
        for (host, trusted) in [(HOST, &stranger), ("elsewhere.test", support::ca())] {
            let mail = secured(security, host).await;
            ask(&mail, tls, trusted, &[]).await.expect_error(502, "M_UNKNOWN").unwrap();
            assert!(mail.is_empty().await, "{tls} {host}");
        }
    }
}

#[tokio::test]
async fn nothing_goes_in_the_clear_when_it_must_be_secured() {
    for tls in ["starttls", "tls"] {
        let mail = MailServer::start().await.unwrap();
        ask(&mail, tls, support::ca(), &[]).await.expect_error(502, "M_UNKNOWN").unwrap();
        assert!(mail.is_empty().await, "{tls}");
    }
}
