//! Where strangers can send this server, and what comes back from there.

use serde_json::{Value, json};
use starling_conformance::{
    client::{User, path},
    evil::Reply,
};
use tokio::net::TcpListener;

use crate::{scene::assert_others_are_served, support};

/// Ways to write addresses of this machine and its neighbours; PORT stands for one that listens.
const HOSTS: [&str; 50] = [
    "127.0.0.1:PORT",
    "127.1:PORT",
    "127.0.1:PORT",
    "2130706433:PORT",
    "0x7f000001:PORT",
    "0x7f.0.0.1:PORT",
    "0177.0.0.1:PORT",
    "017700000001:PORT",
    "127.0.0.1.:PORT",
    "0:PORT",
    "0.0.0.0:PORT",
    "127.255.255.254:PORT",
    "localhost:PORT",
    "LOCALHOST:PORT",
    "localhost.:PORT",
    "LocalHost.:PORT",
    "[::1]:PORT",
    "[::]:PORT",
    "[0:0:0:0:0:0:0:1]:PORT",
    "[::ffff:127.0.0.1]:PORT",
    "[::ffff:7f00:1]:PORT",
    "[::127.0.0.1]:PORT",
    "[64:ff9b::127.0.0.1]:PORT",
    "[64:ff9b::7f00:1]:PORT",
    "[2002:7f00:1::]:PORT",
    "[2001:0:7f00:1::80ff:fffe]:PORT",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "169.254.169.254",
    "169.254.169.254.",
    "0xa9fea9fe",
    "2852039166",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "255.255.255.255",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00::1]",
    "[ff02::1]",
    "[fec0::1]",
    "\u{ff11}27.0.0.1:PORT",
];

/// Somebody listens on this machine, and nobody comes.
#[tokio::test]
async fn nobody_is_sent_inside_however_it_is_written() {
    let server = support::server_with(&[
        ("PUSH__ALLOW_PRIVATE_ADDRESSES", "false"),
        ("FEDERATION__ALLOW_PRIVATE_ADDRESSES", "false"),
    ])
    .await;
    let alice = User::register(&server, "alice").await.unwrap();
    let bob = User::register(&server, "bob").await.unwrap();
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let second = TcpListener::bind(("::1", listener.local_addr().unwrap().port())).await.ok();
    let port = listener.local_addr().unwrap().port().to_string();
    for host in HOSTS {
        let host = host.replace("PORT", &port);
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}/x");
            let target = path("/_matrix/client/v1/media/preview_url?url={}", &[&url]);
            let answer = bob.api.get(&target).await.unwrap();
            assert!((400..=502).contains(&answer.status), "{url}: {answer:?}");
            assert_ne!(answer.status, 500, "{url}: {answer:?}");
        }
        let pusher = json!({
            "app_id": "org.example", "pushkey": host, "kind": "http", "app_display_name": "x",
            "device_display_name": "x", "lang": "en", "append": true,
            "data": { "url": format!("http://{host}/_matrix/push/v1/notify") },
        });
        let answer = bob.api.post("/_matrix/client/v3/pushers/set", pusher).await.unwrap();
        assert!(matches!(answer.status, 200 | 400), "{host}: {answer:?}");
        for (what, target) in [
            ("profile", path("/_matrix/client/v3/profile/{}", &[&format!("@x:{host}")])),
            ("media", path("/_matrix/client/v1/media/download/{}/abc", &[&host])),
            ("directory", path("/_matrix/client/v3/directory/room/{}", &[&format!("#x:{host}")])),
            ("rooms", path("/_matrix/client/v3/publicRooms?server={}", &[&host])),
        ] {
            let answer = bob.api.get(&target).await.unwrap();
            assert!(answer.status >= 400 && answer.status != 500, "{what} {host}: {answer:?}");
        }
    }
    alice.say(&room, "wake everybody up").await.unwrap();
    let last = bob.api.get("/_matrix/client/v3/sync").await.unwrap();
    last.ok().unwrap();
    // Whoever would have come stands in the queue of the listener.
    let came = |listener: TcpListener| {
        let listener = listener.into_std().unwrap();
        listener.set_nonblocking(true).unwrap();
        listener.accept().is_ok()
    };
    assert!(!came(listener), "somebody came");
    assert!(!second.is_some_and(came), "somebody came by the other family of addresses");
}

/// A page that leads from outside to the inside, and one whose picture does, are as good as none.
#[tokio::test]
async fn other_schemes_and_odd_addresses_are_not_looked_at() {
    let alice = support::user("alice").await;
    for url in [
        "file:///etc/passwd",
        "ftp://example.org/",
        "gopher://example.org/",
        "data:text/html,x",
        "javascript:alert(1)",
        "http://user:password@example.org/",
        "http:///x",
        "//example.org/",
        "http://",
        "x",
        "",
        "http://[::1",
        "http://exa mple.org/",
        "unix:///run/x",
        "jar:http://example.org!/",
        "http://example.org:99999/",
        "http://example.org:0x50/",
    ] {
        for template in
            ["/_matrix/client/v1/media/preview_url?url={}", "/_matrix/media/v3/preview_url?url={}"]
        {
            let answer = alice.api.get(&path(template, &[url])).await.unwrap();
            assert!(
                (400..=502).contains(&answer.status) && answer.status != 500,
                "{url}: {answer:?}"
            );
        }
    }
    let long = format!("http://example.org/{}", "x".repeat(100_000));
    let answer =
        alice.api.get(&path("/_matrix/client/v1/media/preview_url?url={}", &[&long])).await;
    // The head of a request has a bound too.
    assert!(answer.is_err() || answer.unwrap().status >= 400);
    assert_others_are_served(support::server().await).await;
}

/// What an application service, a gateway or another server is called, and by which secret, is told to
/// nobody when it does not answer.
#[tokio::test]
async fn no_error_tells_where_others_are() {
    let server = support::server().await;
    let (peer, alice) = (support::peer().await, support::user("alice").await);
    let room = alice.create_public_room().await.unwrap();
    for reply in [
        Reply::error(500, "M_UNKNOWN"),
        Reply::Bytes(200, "text/html", "<b>as_token=hidden</b>".into()),
        Reply::Redirect("https://localhost:1/hidden".to_owned()),
    ] {
        peer.be_honest();
        peer.script(move |request| request.path.contains("/federation/").then(|| reply.clone()));
        let user = peer.user("x");
        let invite = path("/_matrix/client/v3/rooms/{}/invite", &[&room]);
        let answers = [
            alice.api.post(&invite, json!({ "user_id": user })).await.unwrap(),
            alice.try_join(&format!("!x:{}", peer.name), &[&peer.name]).await.unwrap(),
            alice.api.get(&path("/_matrix/client/v3/profile/{}", &[&user])).await.unwrap(),
        ];
        for answer in answers {
            let told = Value::to_string(&answer.body);
            for word in ["hidden", "127.0.0.1", "https://", "sqlx", "src/", ".rs:"] {
                assert!(!told.contains(word), "{word}: {answer:?}");
            }
        }
    }
    assert_others_are_served(server).await;
}

/// Whatever an uploader says a file is, a browser that is led to it runs nothing.
#[tokio::test]
async fn files_of_every_kind_are_harmless_to_browsers() {
    let alice = support::user("alice").await;
    let inline = [
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "video/mp4",
        "audio/ogg",
        "text/plain",
    ];
    let attached = [
        "text/html",
        "TEXT/HTML",
        "text/html; charset=utf-7",
        "image/svg+xml",
        "IMAGE/SVG+XML; x=y",
        "application/xhtml+xml",
        "application/xml",
        "text/xml",
        "application/pdf",
        "application/javascript",
        "text/javascript",
        "application/octet-stream",
        "multipart/mixed",
        "text/plain\t; x",
        "x",
        "text/x-component",
        "application/x-shockwave-flash",
        "image/svg",
        "text/html,text/plain",
        "image/png, text/html",
    ];
    let all =
        inline.iter().map(|kind| (*kind, true)).chain(attached.iter().map(|kind| (*kind, false)));
    for (kind, may_be_inline) in all {
        let uri = crate::client::media::upload(&alice, kind, "?filename=x.html", b"<script>").await;
        let answer =
            crate::client::media::download(&alice.api, &uri).await.expect_status(200).unwrap();
        let header =
            |name: &str| answer.headers.get(name).map_or("", |value| value.to_str().unwrap());
        let disposition = header("content-disposition");
        let is_inline = disposition.starts_with("inline");
        assert!(is_inline || disposition.starts_with("attachment"), "{kind}: {disposition}");
        assert!(!is_inline || may_be_inline, "{kind}: {disposition}");
        assert!(header("content-security-policy").starts_with("sandbox"), "{kind}");
        assert!(header("content-security-policy").contains("default-src 'none'"), "{kind}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{kind}");
        assert_eq!(header("cross-origin-resource-policy"), "cross-origin", "{kind}");
    }
    let long = "x".repeat(300);
    for name in [
        "a;b.txt",
        "a\"b.txt",
        "\u{e9}.png",
        "\u{2615}.png",
        "a\r\nSet-Cookie: x=y",
        "a\\b",
        "../../x",
        "%22",
        &long,
        "",
        "a\u{202e}b",
        "a\0b",
        "=?utf-8?q?x?=",
    ] {
        let query = path("?filename={}", &[name]);
        let target = format!("/_matrix/media/v3/upload{query}");
        let answer = alice.api.raw(http::Method::POST, &target, "text/plain", "x").await.unwrap();
        let answer = match answer.status {
            200 => answer,
            _ => continue,
        };
        let uri = answer.body["content_uri"].as_str().unwrap();
        let (origin, id) = uri.strip_prefix("mxc://").unwrap().split_once('/').unwrap();
        for target in [
            path("/_matrix/client/v1/media/download/{}/{}", &[origin, id]),
            path("/_matrix/client/v1/media/download/{}/{}/{}", &[origin, id, name]),
        ] {
            let answer = alice.api.get(&target).await.unwrap();
            if name.is_empty() && answer.status == 404 {
                continue;
            }
            assert_eq!(answer.status, 200, "{name:?}: {answer:?}");
            assert!(!answer.headers.contains_key("set-cookie"), "{name:?}");
            let disposition = answer.headers["content-disposition"].to_str().unwrap();
            let tame = |c: char| c.is_ascii() && !c.is_ascii_control();
            assert!(disposition.chars().all(tame), "{name:?}: {disposition:?}");
        }
    }
}
