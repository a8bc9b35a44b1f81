//! The bench, on a small scale: every scenario runs to its end and finds that nothing was lost.

use starling_conformance::{
    bench::{self, Options, costs, federation, growth, start_up, state_resolution},
    servers::Kind,
};

use crate::support;

#[tokio::test]
async fn every_scenario_loses_nothing() {
    let server = support::server_with(&[]).await;
    let json = tempfile::NamedTempFile::new().unwrap();
    let options = Options {
        instead: None,
        url: Some(server.client_url()),
        pid: Some(server.pid().unwrap()),
        server: server.kind(),
        database: None,
        scale: 2,
        concurrency: 4,
        only: Vec::new(),
        json: Some(json.path().to_owned()),
    };
    assert!(bench::run(options).await.unwrap());
    let report: serde_json::Value = serde_json::from_reader(json.reopen().unwrap()).unwrap();
    let scenarios = report["figures"]["scenarios"].as_array().unwrap();
    assert!(scenarios.len() > 20, "{report}");
    for scenario in scenarios {
        assert!(scenario["peak_mib"].as_f64().unwrap() > 0.0, "{scenario}");
        assert!(scenario["requests"][0]["count"].as_u64().unwrap() > 0, "{scenario}");
        assert!(scenario["requests"][0]["p50_ms"].as_f64().unwrap() > 0.0, "{scenario}");
    }
}

#[tokio::test]
async fn nothing_is_lost_between_two_servers() {
    // The second one is started like the first, for which the program has to be there.
    drop(support::spec());
    let json = tempfile::NamedTempFile::new().unwrap();
    let options = federation::Options {
        servers: vec![Kind::Starling],
        database: None,
        scale: 4,
        concurrency: 4,
        rate: 20,
        json: Some(json.path().to_owned()),
    };
    assert!(federation::run(options).await.unwrap());
    let report: serde_json::Value = serde_json::from_reader(json.reopen().unwrap()).unwrap();
    let scenarios = report["figures"]["Starling"].as_array().unwrap();
    assert_eq!(scenarios.len(), 3, "{report}");
    for scenario in scenarios {
        assert!(scenario["requests"][0]["p50_ms"].as_f64().unwrap() > 0.0, "{scenario}");
    }
    for figure in ["steady: missing in /sync", "fast: out of order"] {
        assert_eq!(report["figures"][format!("Starling {figure}")], 0, "{report}");
    }
}

#[tokio::test]
async fn costs_are_measured() {
    // The server is started by the bench, for which the program has to be there.
    drop(support::spec());
    let json = tempfile::NamedTempFile::new().unwrap();
    let options = costs::Options {
        servers: vec![Kind::Starling],
        database: None,
        scale: 2,
        concurrency: 4,
        // The others begin with thousands of messages, whatever the scale.
        only: ["idle", "ack", "delivery", "/sync", "local", "federated"]
            .map(str::to_owned)
            .to_vec(),
        json: Some(json.path().to_owned()),
    };
    assert!(costs::run(options).await.unwrap());
    let report: serde_json::Value = serde_json::from_reader(json.reopen().unwrap()).unwrap();
    let costs = report["figures"]["Starling"].as_object().unwrap();
    assert_eq!(costs.len(), 6, "{report}");
    for cost in costs.values() {
        assert!(cost["count"].as_u64().unwrap() > 0, "{report}");
    }
    assert!(costs["idle resident memory"]["server"].as_f64().unwrap() > 0.0, "{report}");
}

#[tokio::test]
async fn growth_is_measured() {
    drop(support::spec());
    let json = tempfile::NamedTempFile::new().unwrap();
    let options = growth::Options {
        members: vec![4, 8],
        events: vec![20, 40],
        related: vec![50],
        messages: 5,
        changes: 10,
        database: None,
        json: Some(json.path().to_owned()),
    };
    assert!(growth::run(options).await.unwrap());
    let report: serde_json::Value = serde_json::from_reader(json.reopen().unwrap()).unwrap();
    for (kind, count) in [
        ("members in the room", 2),
        ("events on the server", 2),
        ("reactions, edits and answers: a message and its delivery", 1),
    ] {
        let steps = report["figures"][kind].as_array().unwrap();
        assert_eq!(steps.len(), count, "{report}");
        assert!(steps[0]["p50_ms"].as_f64().unwrap() > 0.0, "{report}");
    }
    let weighed = &report["figures"]["bytes on disk per message, up to 40"];
    assert!(weighed.as_u64().is_some(), "{report}");
}

#[tokio::test]
async fn branches_become_the_state_that_they_should() {
    drop(support::spec());
    let json = tempfile::NamedTempFile::new().unwrap();
    for room_version in ["11", "12"] {
        let options = state_resolution::Options {
            state: 50,
            forks: vec![2, 20],
            merges: 2,
            room_version: room_version.to_owned(),
            database: None,
            json: Some(json.path().to_owned()),
        };
        assert!(state_resolution::run(options).await.unwrap());
        let report: serde_json::Value = serde_json::from_reader(json.reopen().unwrap()).unwrap();
        let merges = report["figures"]["merges"].as_array().unwrap();
        assert_eq!(merges.len(), 2, "{report}");
        for merged in merges {
            assert_eq!(merged["requests"][1]["count"], 2, "{report}");
            assert!(merged["requests"][1]["p50_ms"].as_f64().unwrap() > 0.0, "{report}");
        }
    }
}

#[tokio::test]
async fn nothing_is_lost_by_a_stop_or_a_kill() {
    drop(support::spec());
    let json = tempfile::NamedTempFile::new().unwrap();
    let options = start_up::Options {
        mib: 4,
        rooms: 3,
        starts: 1,
        concurrency: 4,
        database: None,
        json: Some(json.path().to_owned()),
    };
    assert!(start_up::run(options).await.unwrap());
    let report: serde_json::Value = serde_json::from_reader(json.reopen().unwrap()).unwrap();
    assert!(report["figures"]["MiB in the database"].as_u64().unwrap() >= 4, "{report}");
    let starts = report["figures"]["starts"].as_array().unwrap();
    assert_eq!(starts.len(), 2, "{report}");
    for start in starts {
        let until = |place: usize| start["requests"][place]["p50_ms"].as_f64().unwrap();
        assert!(0.0 < until(0) && until(0) < until(1) && until(1) < until(2), "{report}");
    }
}
