//! The bench, on a small scale: every scenario runs to its end and finds that nothing was lost.

use starling_conformance::{
    bench::{self, Options, federation},
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
    assert_eq!(scenarios.len(), 11, "{report}");
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
