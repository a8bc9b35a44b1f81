//! The bench, on a small scale: every scenario runs to its end and finds that nothing was lost.

use starling_conformance::bench::{self, Options};

use crate::support;

#[tokio::test]
async fn every_scenario_loses_nothing() {
    let server = support::server_with(&[]).await;
    let json = tempfile::NamedTempFile::new().unwrap();
    let options = Options {
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
    assert_eq!(scenarios.len(), 10, "{report}");
    for scenario in scenarios {
        assert!(scenario["peak_mib"].as_f64().unwrap() > 0.0, "{scenario}");
        assert!(scenario["requests"][0]["count"].as_u64().unwrap() > 0, "{scenario}");
        assert!(scenario["requests"][0]["p50_ms"].as_f64().unwrap() > 0.0, "{scenario}");
    }
}
