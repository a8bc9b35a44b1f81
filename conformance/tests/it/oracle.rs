//! Random graphs of events, sent to two Starlings: a small form of `starling-conformance oracle`, which has
//! Synapse for the second one.

use starling_conformance::{
    oracle::{self, Options, Way},
    servers::Kind,
};

use crate::support;

fn graphs(control: bool) -> Options {
    // The servers are started like all others, for which the program has to be there.
    drop(support::spec());
    Options {
        graphs: 1,
        events: 25,
        seed: Some(7),
        room_versions: vec!["1".to_owned(), "12".to_owned()],
        ways: vec![Way::InOrder, Way::Shuffled],
        oracle: Kind::Starling,
        control,
        database: None,
        json: None,
    }
}

#[tokio::test]
async fn two_servers_make_the_same_of_a_graph_however_it_comes() {
    assert!(oracle::run(graphs(false)).await.unwrap());
}

#[tokio::test]
async fn an_event_that_one_server_is_not_given_is_found_out() {
    assert!(oracle::run(graphs(true)).await.unwrap());
}
