//! The reconciler step by step, with outlets that remember.

use super::{Input, Outlets, Question, Reconciler, Standing};
use crate::admin::{Metrics, Readiness};
use crate::staple::News;
use crate::status::{Seen, Writer};
use crate::watch::Arrival;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sluice_crds::{Kind, Object, ObjectRef};
use sluice_ir::{CertificateKey, Delta, GatewayKey};
use sluice_translate::{GatewayAddress, GatewayPlan, Infrastructure, Options, StapleReason, StapleStanding};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Default)]
struct Told {
    words: Vec<String>,
    is_programmed: bool,
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Told>>);

impl Memory {
    fn words(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().words)
    }

    fn say(&self, word: String) {
        self.0.lock().words.push(word);
    }
}

impl Outlets for Memory {
    fn publish(&mut self, delta: &Delta) {
        self.say(format!("+{} -{}", delta.upserts.len(), delta.removals.len()));
    }

    fn set_complete(&mut self) {
        self.say("complete".to_owned());
    }

    fn standing(&self, _: &GatewayKey) -> Standing {
        Standing { is_programmed: self.0.lock().is_programmed, is_settling: false }
    }

    fn order(&mut self, _: &sluice_translate::Orders) {}

    fn want(&mut self, gateway: &ObjectRef, plan: Option<&GatewayPlan>) {
        self.say(format!("{gateway} {}", if plan.is_some() { "planned" } else { "gone" }));
    }
}

fn upsert(kind: Kind, value: Value) -> Input {
    let object = Object::read(kind, value).unwrap();
    let seen = crate::watch::has_status(kind).then(|| Seen::new("1", None));
    Input::Arrival(Arrival::Upsert { object, seen })
}

fn world() -> Vec<Input> {
    vec![
        upsert(
            Kind::GatewayClass,
            json!({"metadata": {"name": "sluice"}, "spec": {"controllerName": "sluice.dev/gateway-controller"}}),
        ),
        upsert(
            Kind::Gateway,
            json!({"metadata": {"name": "web", "namespace": "edge", "generation": 1},
                   "spec": {"gatewayClassName": "sluice", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}}),
        ),
        upsert(
            Kind::HttpRoute,
            json!({"metadata": {"name": "r", "namespace": "edge", "generation": 1},
                   "spec": {"parentRefs": [{"name": "web"}],
                            "rules": [{"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]}]}}),
        ),
    ]
}

fn all_listed() -> Vec<Input> {
    Kind::ALL.into_iter().map(|kind| Input::Arrival(Arrival::Listed(kind))).collect()
}

fn reconciler() -> (Reconciler<Memory>, Memory, Writer, Arc<Readiness>) {
    let (memory, metrics, readiness) =
        (Memory::default(), Arc::new(Metrics::default()), Arc::new(Readiness::default()));
    let options = Options { standalone: false, ..Options::default() };
    let writer = Writer::new(&options.controller_name, metrics.clone());
    let reconciler = Reconciler::new(options, memory.clone(), writer.clone(), metrics, readiness.clone());
    (reconciler, memory, writer, readiness)
}

fn web() -> ObjectRef {
    ObjectRef::new(Kind::Gateway, "edge", "web")
}

#[test]
fn nothing_goes_out_before_every_kind_was_listed_and_then_all_at_once() {
    let (mut reconciler, memory, writer, readiness) = reconciler();
    reconciler.step(vec![Input::Leader(true)]);
    reconciler.step(world());
    let mut listed = all_listed();
    let last = listed.pop().unwrap();
    reconciler.step(listed);
    assert!(memory.words().is_empty() && writer.waiting() == 0 && !readiness.is_complete());
    reconciler.step(vec![last]);
    // A Gateway, a listener, a route.
    assert_eq!(memory.words(), ["+3 -0", "Gateway edge/web planned", "complete"]);
    assert_eq!(writer.waiting(), 3);
    assert!(readiness.is_complete());
    reconciler.step(vec![Input::Arrival(Arrival::Remove(web()))]);
    assert_eq!(memory.words(), ["+0 -3", "Gateway edge/web gone"]);
}

#[test]
fn only_the_leader_offers_statuses_and_a_new_one_offers_all() {
    let (mut reconciler, _, writer, _) = reconciler();
    reconciler.step(world());
    reconciler.step(all_listed());
    assert_eq!(writer.waiting(), 0);
    reconciler.step(vec![Input::Leader(true)]);
    assert_eq!(writer.waiting(), 3);
    reconciler.step(vec![Input::Leader(false)]);
    assert_eq!(writer.waiting(), 0);
}

#[test]
fn a_gateway_is_programmed_when_it_has_an_address_and_its_data_planes_say_so() {
    let (mut reconciler, memory, ..) = reconciler();
    reconciler.step(world());
    reconciler.step(all_listed());
    let programmed = |reconciler: &Reconciler<Memory>| {
        let status = serde_json::to_value(&reconciler.translator.statuses()[&web()]).unwrap();
        status["conditions"][1]["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(programmed(&reconciler), "Pending");
    let address = GatewayAddress { r#type: "IPAddress", value: "192.0.2.1".to_owned() };
    let facts = Infrastructure { addresses: vec![address], ..Infrastructure::default() };
    reconciler.step(vec![Input::Infrastructure(web(), facts)]);
    assert_eq!(programmed(&reconciler), "Pending");
    memory.0.lock().is_programmed = true;
    reconciler.step(vec![Input::SyncChanged]);
    assert_eq!(programmed(&reconciler), "Programmed");
}

#[test]
fn a_new_ocsp_response_goes_out_with_its_certificate_and_into_the_status() {
    let (mut reconciler, memory, ..) = reconciler();
    let made = rcgen::generate_simple_self_signed(vec!["a.example.com".to_owned()]).unwrap();
    reconciler.step(world());
    reconciler.step(vec![
        upsert(
            Kind::Gateway,
            json!({"metadata": {"name": "web", "namespace": "edge"},
                   "spec": {"gatewayClassName": "sluice", "listeners": [
                       {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "tls"}]}}]}}),
        ),
        upsert(
            Kind::Secret,
            json!({"metadata": {"name": "tls", "namespace": "edge"}, "type": "kubernetes.io/tls",
                   "stringData": {"tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem()}}),
        ),
    ]);
    reconciler.step(all_listed());
    memory.words();
    let key = CertificateKey::new("Secret/edge/tls");
    let mut told = |changed: &[&CertificateKey], reason| {
        let changed: BTreeSet<_> = changed.iter().map(|key| (*key).clone()).collect();
        let standing = StapleStanding { reason, message: String::new() };
        let standings = BTreeMap::from([(key.clone(), standing)]);
        reconciler.step(vec![Input::Staples(News { changed, standings })]);
        let status = serde_json::to_value(&reconciler.translator.statuses()[&web()]).unwrap();
        (memory.words(), status["listeners"][0]["conditions"][3]["reason"].clone())
    };
    assert_eq!(told(&[], StapleReason::Pending), (Vec::new(), json!("Pending")));
    assert_eq!(told(&[&key], StapleReason::Stapled), (vec!["+1 -0".to_owned()], json!("Stapled")));
}

#[test]
fn an_object_that_cannot_be_read_is_a_problem_until_it_can() {
    let (mut reconciler, ..) = reconciler();
    reconciler.step(world());
    reconciler.step(all_listed());
    let value = json!({"metadata": {"name": "web", "namespace": "edge"}, "spec": {"gatewayClassName": 1}});
    let error = Object::read(Kind::Gateway, value).unwrap_err();
    let arrival = Arrival::Unreadable { reference: web(), rest: None, seen: None, error };
    reconciler.step(vec![Input::Arrival(arrival)]);
    let mut problems = || {
        let (answer, mut answered) = tokio::sync::oneshot::channel();
        reconciler.step(vec![Input::Ask(Question::Problems(answer))]);
        answered.try_recv().unwrap()
    };
    assert!(problems().contains("spec.gatewayClassName"));
    // It serves as it was last read.
    assert_eq!(reconciler.translator.snapshot().gateways.len(), 1);
    reconciler.step(world());
    let (answer, mut answered) = tokio::sync::oneshot::channel();
    reconciler.step(vec![Input::Ask(Question::Problems(answer))]);
    assert!(!answered.try_recv().unwrap().contains("gatewayClassName"));
}
