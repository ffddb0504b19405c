//! What is only told.

use super::{manifests_with, policy};
use sluice_tests::{Ask, Stand};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_refuses_nobody_and_is_counted() {
    let dry = "istio.io/dry-run: \"true\"";
    let yaml = [
        policy("deny", dry, "DENY", "{to: [{operation: {methods: [POST]}}]}"),
        policy("allow", dry, "ALLOW", "{to: [{operation: {methods: [GET]}}]}"),
    ]
    .concat();
    let stand = Stand::start(&manifests_with(&yaml)).await;
    for method in ["GET", "GET", "POST"] {
        assert_eq!(stand.request(&Ask::new(method, "http://a.test/")).await.status, 200);
    }
    let metrics = stand.gateway().proxy().metrics().encode();
    let count = |action: &str, result: &str| {
        let labels = format!(
            "istio_dry_run_requests_total{{gateway=\"default/web\",authz_dry_run_action=\"{action}\",\
             authz_dry_run_result=\"{result}\"}} "
        );
        let line = metrics.lines().find_map(|it| it.strip_prefix(&labels));
        line.unwrap_or_else(|| panic!("no {labels}")).parse::<u64>().unwrap()
    };
    assert_eq!((count("deny", "allowed"), count("deny", "denied")), (2, 1));
    assert_eq!((count("allow", "allowed"), count("allow", "denied")), (2, 1));
}
