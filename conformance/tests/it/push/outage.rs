//! Gateways that fail, hang or are not there, and servers that end: nothing is lost, nothing is told out of
//! order, and nobody else waits.

use std::time::Duration;

use starling_conformance::gateway::{Gateway, Notified};

use super::Scene;
use crate::support;

/// How the messages of Alice are told, in their order.
async fn wait_for_all(scene: &Scene, said: &[String]) {
    let last = said.last().unwrap();
    scene.gateway.wait_for(&scene.pushkey, last).await.unwrap();
    let mut events = scene.gateway.events(&scene.pushkey);
    // A server that ended before it knew that something was taken tells it again.
    events.dedup();
    assert_eq!(events, said);
}

#[tokio::test]
async fn what_a_gateway_does_not_take_is_told_again_ever_more_slowly() {
    let scene = Scene::set().await;
    scene.gateway.fail_next([500, 502, 302]);
    let mut said = vec![scene.alice.say(&scene.room, "one").await.unwrap()];
    said.push(scene.alice.say(&scene.room, "two").await.unwrap());
    wait_for_all(&scene, &said).await;
    let came = scene.gateway.came();
    let statuses: Vec<u16> = came.iter().map(|it| it.status).collect();
    assert_eq!(statuses, [500, 502, 302, 200, 200]);
    let first = |it: &Notified| it.event_id() == Some(&*said[0]);
    assert!(came[..4].iter().all(first), "{came:#?}");
    let pauses: Vec<Duration> = came[..4].windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    for (pause, shortest) in pauses.iter().zip([750, 1_500, 3_000]) {
        assert!(pause.as_millis() >= shortest, "{pauses:?}");
    }
    scene.all_was_well();
}

#[tokio::test]
async fn a_gateway_that_hangs_or_is_gone_delays_nobody_else() {
    let scene = Scene::set().await;
    let hanging = Gateway::start().await.unwrap();
    hanging.hang();
    let held = hanging.tells(&scene.bob).await.unwrap();
    let mut gone = Gateway::start().await.unwrap();
    gone.tells(&scene.bob).await.unwrap();
    gone.go();
    let mut said = Vec::new();
    for number in 0..10 {
        said.push(scene.say(&number.to_string()).await);
    }
    hanging.wait(|gateway| (gateway.waiting() == 1).then_some(())).await.unwrap();
    assert!(hanging.came().is_empty(), "the others were told meanwhile");
    hanging.release();
    hanging.wait_for(&held, &said[9]).await.unwrap();
    assert_eq!(hanging.events(&held), said);
    scene.all_was_well();
}

#[tokio::test]
async fn a_gateway_that_takes_too_long_is_asked_again() {
    let scene = Scene::set().await;
    scene.gateway.hang();
    let event_id = scene.alice.say(&scene.room, "hello").await.unwrap();
    scene.gateway.wait(|gateway| (gateway.waiting() == 2).then_some(())).await.unwrap();
    scene.gateway.release();
    scene.gateway.wait_for(&scene.pushkey, &event_id).await.unwrap();
    scene.all_was_well();
}

#[tokio::test]
async fn what_was_not_told_is_told_after_a_restart() {
    let server = support::start(support::spec()).await;
    let mut scene = Scene::on(&server).await;
    let mut said = vec![scene.say("before").await];
    scene.gateway.go();
    for ending in 0..2 {
        for number in 0..3 {
            let body = format!("{ending} {number}");
            said.push(scene.alice.say(&scene.room, &body).await.unwrap());
        }
        match ending {
            0 => server.kill().unwrap(),
            _ => assert_eq!(server.stop().unwrap(), Some(0)),
        }
        server.resume().await.unwrap();
    }
    scene.gateway.come_back().await.unwrap();
    wait_for_all(&scene, &said).await;
    scene.all_was_well();
}

#[tokio::test]
async fn a_server_that_is_killed_while_it_tells_loses_nothing() {
    let server = support::start(support::spec()).await;
    let scene = Scene::on(&server).await;
    scene.gateway.hang();
    let mut said = Vec::new();
    for number in 0..5 {
        said.push(scene.alice.say(&scene.room, &number.to_string()).await.unwrap());
    }
    scene.gateway.wait(|gateway| (gateway.waiting() == 1).then_some(())).await.unwrap();
    server.kill().unwrap();
    scene.gateway.release();
    server.resume().await.unwrap();
    wait_for_all(&scene, &said).await;
    scene.all_was_well();
}
