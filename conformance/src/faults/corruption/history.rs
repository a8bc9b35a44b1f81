//! Something of everything that is looked at: rooms of several versions with another server in them, state that
//! changes, members who come and go, forks, relations, redactions, files.

use anyhow::{Context as _, Result};
use http::Method;
use image::{ImageFormat, RgbImage};
use serde_json::json;

use crate::{
    client::{User, path, text},
    hostile::Stage,
    servers::{Server, TestCa},
};

/// The room versions, of which the first lets events name themselves and the last names rooms by events.
const VERSIONS: [&str; 3] = ["1", "10", "12"];

/// Makes it.
pub(super) async fn make(server: &Server, ca: &TestCa) -> Result<()> {
    let bob = User::register(server, "bob").await?;
    let files = files(&bob).await?;
    for version in VERSIONS {
        let stage = Stage::set(server, ca, version, 50).await?;
        talk(&stage, &bob).await?;
        fork(&stage).await?;
        let avatar = json!({ "url": files });
        stage.alice.set_state(&stage.room.id, "m.room.avatar", "", avatar).await?;
        stage.goes_on("all that").await?;
    }
    Ok(())
}

/// Uploads files, one of which is a picture that was also made smaller. Gives the address of that.
async fn files(user: &User) -> Result<String> {
    let mut picture = std::io::Cursor::new(Vec::new());
    let image = RgbImage::from_fn(200, 200, |x, y| image::Rgb([x as u8, y as u8, 7]));
    image.write_to(&mut picture, ImageFormat::Png)?;
    let mut uri = String::new();
    for (kind, bytes) in
        [("text/plain", b"some text".to_vec()), ("image/png", picture.into_inner())]
    {
        let answer = user.api.raw(Method::POST, "/_matrix/media/v3/upload", kind, bytes).await?;
        uri = text(&answer.ok()?, "/content_uri")?.to_owned();
    }
    let (origin, id) =
        uri.strip_prefix("mxc://").and_then(|uri| uri.split_once('/')).context("no address")?;
    let smaller = "/_matrix/client/v1/media/thumbnail/{}/{}?width=32&height=32&method=crop";
    user.api.get(&path(smaller, &[origin, id])).await?.expect_status(200)?;
    Ok(uri)
}

async fn talk(stage: &Stage<'_>, bob: &User) -> Result<()> {
    let (alice, room) = (&stage.alice, stage.room.id.as_str());
    bob.join(room, &[]).await?;
    let carol = User::register(stage.server, "carol").await?;
    carol.join(room, &[]).await?;
    carol.leave(room).await?;
    let dave = User::register(stage.server, "dave").await?;
    alice.invite(room, &dave.id).await?;
    for number in 0..12 {
        alice.set_state(room, "org.example.many", &number.to_string(), json!({})).await?;
    }
    let root = bob.say(room, "the root of a thread").await?;
    for number in 0..5 {
        let relates = json!({ "rel_type": "m.thread", "event_id": root });
        let body = json!({ "msgtype": "m.text", "body": format!("number {number}"), "m.relates_to": relates });
        alice.send(room, "m.room.message", body).await?;
        let key =
            json!({ "rel_type": "m.annotation", "event_id": root, "key": number.to_string() });
        bob.send(room, "m.reaction", json!({ "m.relates_to": key })).await?;
    }
    let gone = bob.say(room, "gone soon").await?;
    alice.redact(room, &gone).await?;
    alice.set_state(room, "m.room.topic", "", json!({ "topic": "a topic" })).await?;
    alice.set_state(room, "m.room.topic", "", json!({ "topic": "another" })).await?;
    Ok(())
}

/// Events of the other server side by side, and some that are refused.
async fn fork(stage: &Stage<'_>) -> Result<()> {
    let base = stage.alice.say(&stage.room.id, "the base of forks").await?;
    stage.peer.received_pdu("it", |pdu| pdu["content"]["body"] == "the base of forks").await?;
    let (room, mallory) = (&stage.room, &stage.mallory);
    let topic = json!({ "topic": "a fork" });
    for draft in [
        room.message(mallory, "one fork")?,
        room.state_draft(mallory, "org.example.fork", "", topic.clone())?,
        room.state_draft(mallory, "m.room.topic", "", topic)?,
        // Mallory may not.
        room.state_draft(mallory, "m.room.power_levels", "", json!({ "users": { mallory: 100 } }))?,
    ] {
        let event = stage.seal(&stage.after(draft, &base)?)?;
        stage.flood(&[event]).await?;
    }
    Ok(())
}
