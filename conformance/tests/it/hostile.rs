//! The attacks of `starling-conformance hostile`, small enough for every run, and below them, family by
//! family, those that need no size. `conformance/hostile/index.tsv` says which attack is played where.

mod binding;
mod bounds;
mod doors;
mod origin;
mod outbound;
mod parsers;
mod paths;
mod signing;
mod visibility;
mod wire;

use starling_conformance::{
    hostile::{
        Stage, answers,
        graph::{self, Forks},
        limits, resets, transactions,
    },
    servers::Kind,
};

use crate::support::{ca, server, start};

/// How many events an attack has here.
const FEW: usize = 120;

async fn stage(version: &str, level: i64) -> Stage<'static> {
    Stage::set(server().await, ca(), version, level).await.unwrap()
}

#[tokio::test]
async fn forks_cost_the_same_each_and_leave_the_room_as_it_was() {
    for version in ["11", "12"] {
        for kind in [Forks::Messages, Forks::OneState, Forks::ManyStates] {
            graph::forks(&stage(version, 100).await, FEW, kind).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_end_of_a_deep_chain_costs_a_bounded_number_of_questions() {
    graph::deep_chain(&stage("12", 0).await, 2 * FEW).await.unwrap();
}

#[tokio::test]
async fn a_chain_of_authority_is_not_walked_without_need() {
    for version in ["11", "12"] {
        graph::auth_chain(&stage(version, 0).await, FEW).await.unwrap();
    }
}

#[tokio::test]
async fn branches_that_disagree_about_much_go_on() {
    for version in ["11", "12"] {
        graph::wide_conflict(&stage(version, 100).await, FEW).await.unwrap();
    }
}

#[tokio::test]
async fn bad_events_do_not_spoil_good_ones() {
    for version in ["11", "12"] {
        transactions::bad_among_good(&stage(version, 50).await).await.unwrap();
    }
}

#[tokio::test]
async fn an_id_has_one_content() {
    transactions::twice_the_same_id(&stage("1", 50).await).await.unwrap();
    for version in ["11", "12"] {
        transactions::changed_on_the_way(&stage(version, 50).await).await.unwrap();
    }
}

#[tokio::test]
async fn depths_at_the_end_do_not_end_the_room() {
    for version in ["11", "12"] {
        transactions::future_depth(&stage(version, 50).await).await.unwrap();
    }
}

#[tokio::test]
async fn lost_rights_do_not_come_back() {
    for version in ["11", "12"] {
        resets::demoted(&stage(version, 50).await).await.unwrap();
        resets::banned(&stage(version, 50).await).await.unwrap();
    }
}

#[tokio::test]
async fn version_12_is_not_thrown_back_nor_taken_over() {
    resets::forgotten_rules(&stage("12", 50).await).await.unwrap();
    resets::creator(&stage("12", 100).await).await.unwrap();
    resets::same_room(&stage("12", 100).await).await.unwrap();
}

#[tokio::test]
async fn answers_that_are_none_end() {
    // Those that take their time are played by the command.
    for (name, reply) in answers::lies() {
        if !matches!(name, "one byte a second" | "nothing at all") {
            let outcome = answers::lied_to(server().await, ca(), &reply).await;
            outcome.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
    }
}

#[tokio::test]
async fn a_server_that_asks_too_much_has_to_wait() {
    if server().await.kind() == Kind::Starling {
        limits::flood(&start(limits::limited().unwrap()).await, ca()).await.unwrap();
    }
}

#[tokio::test]
async fn nobody_sends_us_to_private_addresses() {
    if server().await.kind() == Kind::Starling {
        limits::private_addresses(&start(limits::strict().unwrap()).await, ca()).await.unwrap();
    }
}
