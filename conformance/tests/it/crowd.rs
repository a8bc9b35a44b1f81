//! Many servers in one room, most of which are dead: a small form of `starling-conformance destinations`.

use starling_conformance::destinations::Crowd;

use crate::support::{ca, server};

#[tokio::test]
async fn the_dead_hold_up_neither_the_living_nor_whoever_speaks() {
    let crowd = Crowd { servers: 24, alive: 6 };
    let figures = crowd.play(server().await, ca(), 10).await.unwrap();
    assert!(figures["send_to_all_median_ms"] < 2_000, "{figures:?}");
}
