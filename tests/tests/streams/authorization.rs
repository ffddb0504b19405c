//! AuthorizationPolicies of connections that are carried whole: what requests alone have is not there, so that a rule of ALLOW
//! which asks for it lets nobody in, and one of DENY holds for all (Istio).

use super::*;

const TCP: &str = "name: tcp, port: 9000, protocol: TCP";

fn policy(action: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p}}\nspec:\n  action: {action}\n  \
         targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: web}}]\n  rules: [{rules}]\n"
    )
}

/// How many connections have ended whose count has this word in its labels.
async fn ended(stand: &Stand, word: &str) -> usize {
    let lines = metric(stand, "sluice_streams_total{").await;
    let counts = lines.iter().filter(|it| it.contains(word));
    counts.map(|it| it.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_judged_by_what_it_has() {
    let backend = named("app").await;
    let base = [
        gateway(&[TCP], ""),
        service("app", "TCP", &[backend]),
        route("TCPRoute", "app", "port: 9000", "", &[("app", 1)]),
    ]
    .concat();
    let mut stand = stand(&base).await;
    let cases = [
        ("ALLOW", "{}", true),
        (
            "ALLOW",
            "{from: [{source: {ipBlocks: [127.0.0.0/8]}}], to: [{operation: {ports: [\"9000\"]}}]}",
            true,
        ),
        ("ALLOW", "{to: [{operation: {ports: [\"9001\"]}}]}", false),
        ("ALLOW", "{to: [{operation: {methods: [GET]}}]}", false),
        ("ALLOW", "{to: [{operation: {notPaths: [/a]}}]}", false),
        ("ALLOW", "{from: [{source: {principals: [\"*\"]}}]}", false),
        ("ALLOW", "{when: [{key: \"request.headers[a]\", notValues: [b]}]}", false),
        ("DENY", "{to: [{operation: {methods: [GET]}}]}", false),
        (
            "DENY",
            "{from: [{source: {requestPrincipals: [\"*\"]}}], to: [{operation: {ports: [\"9001\"]}}]}",
            true,
        ),
        ("DENY", "{from: [{source: {ipBlocks: [127.0.0.0/8]}}]}", false),
        ("DENY", "{from: [{source: {notIpBlocks: [127.0.0.0/8]}}]}", true),
    ];
    for (number, (action, rules, goes_on)) in cases.into_iter().enumerate() {
        stand.apply(&format!("{base}{}", policy(action, rules))).await;
        let got = whole(&stand, 9000).await.unwrap_or_default();
        assert_eq!(got == b"app", goes_on, "{action} {rules}: {:?}", String::from_utf8_lossy(&got));
        // The next policy would cut it.
        sluice_tests::eventually("it is over", || async { ended(&stand, "").await == number + 1 }).await;
    }
    assert_eq!(ended(&stand, "outcome=\"forbidden\"").await, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_new_policy_forbids_ends_and_all_else_goes_on() {
    let mut backend = Backend::start().await;
    let base = [
        gateway(&[TCP], ""),
        service("app", "TCP", &[backend.address]),
        route("TCPRoute", "app", "port: 9000", "", &[("app", 1)]),
    ]
    .concat();
    let mut stand = stand(&base).await;
    let mut client = connect(&stand, 9000).await;
    let mut endpoint = backend.next().await;
    send(&mut client, b"a").await;
    assert_eq!(exactly(&mut endpoint, 1).await, b"a");
    for harmless in
        ["{to: [{operation: {ports: [\"9001\"]}}]}", "{from: [{source: {ipBlocks: [10.0.0.0/8]}}]}"]
    {
        stand.apply(&format!("{base}{}", policy("DENY", harmless))).await;
        send(&mut client, b"b").await;
        assert_eq!(exactly(&mut endpoint, 1).await, b"b");
    }
    let began = std::time::Instant::now();
    stand.apply(&format!("{base}{}", policy("DENY", "{from: [{source: {ipBlocks: [127.0.0.0/8]}}]}"))).await;
    assert!(!matches!(rest(&mut client).await, Ok(bytes) if !bytes.is_empty()));
    let took = began.elapsed();
    assert!(!matches!(rest(&mut endpoint).await, Ok(bytes) if !bytes.is_empty()));
    assert!(took < Duration::from_secs(2), "{took:?}");
    eprintln!("cut {took:?} after the policy was there");
}
