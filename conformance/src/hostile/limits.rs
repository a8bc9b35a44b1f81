//! Too many requests, and addresses that nobody should be sent to. Each needs a server with settings
//! of its own.

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use serde_json::json;

use super::stage::Watch;
use crate::{
    client::{User, path},
    evil::Peer,
    report::Report,
    servers::{Kind, Server, Spec, TestCa},
};

/// How many requests of one server are answered at once.
const BURST: usize = 50;

/// Plays the attacks of this file.
pub(super) async fn play(report: &mut Report, ca: &TestCa) {
    report
        .case("a flood of requests", async { flood(&limited()?.start(ca).await?, ca).await })
        .await;
    let case = async { private_addresses(&strict()?.start(ca).await?, ca).await };
    report.case("private addresses", case).await;
}

/// A server that lets another make [`BURST`] requests at once and one each second.
pub fn limited() -> Result<Spec> {
    let spec = Spec::new(Kind::Starling)?
        .with_setting("RATE_LIMITS__ENABLED", "true")
        .with_setting("RATE_LIMITS__REQUESTS_BY_SERVER__BURST", &BURST.to_string())
        .with_setting("RATE_LIMITS__REQUESTS_BY_SERVER__PER_SECOND", "1");
    Ok(spec)
}

/// A server that may not be sent to private addresses.
pub fn strict() -> Result<Spec> {
    Ok(Spec::new(Kind::Starling)?.with_setting("FEDERATION__ALLOW_PRIVATE_ADDRESSES", "false"))
}

/// One server asks without end: it has to wait, and nobody else does.
pub async fn flood(server: &Server, ca: &TestCa) -> Result<()> {
    let (peer, other) = (Peer::start(ca).await?, Peer::start(ca).await?);
    let alice = User::register(server, "alice").await?;
    let watch = Watch::begin(server).await?;
    let target = path("/_matrix/federation/v1/query/profile?user_id={}", &[&alice.id]);
    let answers = join_all((0..BURST * 10).map(|_| peer.get(server, &target))).await;
    let (mut served, mut refused) = (0, 0);
    for answer in answers {
        let answer = answer?;
        match answer.status {
            200 => served += 1,
            _ => {
                let refusal = answer.expect_error(429, "M_LIMIT_EXCEEDED")?;
                ensure!(refusal["retry_after_ms"].is_u64(), "{refusal}");
                refused += 1;
            }
        }
    }
    ensure!(served >= BURST, "{served} were served");
    ensure!(refused >= BURST * 8, "{refused} were refused");
    other.get(server, &target).await?.ok()?;
    watch.end().await?;
    Ok(())
}

/// Names that lead to this machine or a private network: nobody is asked there.
pub async fn private_addresses(server: &Server, ca: &TestCa) -> Result<()> {
    let peer = Peer::start(ca).await?;
    let alice = User::register(server, "alice").await?;
    let port = peer.name.rsplit(':').next().unwrap_or_default();
    for host in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "10.0.0.1"] {
        let name = format!("{host}:{port}");
        let profile = path("/_matrix/client/v3/profile/{}", &[&format!("@mallory:{name}")]);
        let answer = alice.api.get(&profile).await?;
        ensure!(answer.status != 200, "{host}: {answer:?}");
        let answer = alice.try_join(&format!("!room:{name}"), &[&name]).await?;
        ensure!(answer.status != 200, "{host}: {answer:?}");
    }
    // Who asks from there cannot be asked for its keys either.
    let target = path("/_matrix/federation/v1/query/profile?user_id={}", &[&alice.id]);
    peer.get(server, &target).await?.expect_error(401, "M_UNAUTHORIZED")?;
    let transaction = peer.transaction(server, "t", json!([]), json!([])).await?;
    transaction.expect_error(401, "M_UNAUTHORIZED")?;
    ensure!(peer.seen("_matrix").is_empty(), "the server came to a private address");
    Ok(())
}
