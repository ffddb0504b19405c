//! Each test is a sentence of the rules for statuses (GEP-1364, API conventions).

use super::{generation, is_pending_again, patch};
use serde_json::{Value, json};
use sluice_crds::Kind;

const US: &str = "sluice.dev/gateway-controller";

fn condition(name: &str, status: &str, generation: i64) -> Value {
    json!({"type": name, "status": status, "reason": "R", "message": "", "observedGeneration": generation})
}

fn at(mut condition: Value, time: &str) -> Value {
    condition["lastTransitionTime"] = json!(time);
    condition
}

fn entry(controller: &str, parent: &str, conditions: Value) -> Value {
    json!({"controllerName": controller, "parentRef": {"name": parent}, "conditions": conditions})
}

#[test]
fn the_time_moves_only_when_the_status_of_the_condition_does() {
    let there = json!({"conditions": [at(condition("Accepted", "True", 1), "then"), at(condition("Programmed", "False", 1), "then")]});
    let wanted =
        json!({"conditions": [condition("Accepted", "True", 2), condition("Programmed", "True", 2)]});
    let patch = patch(Kind::Gateway, &there, Some(&wanted), US, "now").unwrap();
    assert_eq!(
        patch,
        json!({"conditions": [at(condition("Accepted", "True", 2), "then"), at(condition("Programmed", "True", 2), "now")]})
    );
}

#[test]
fn nothing_is_written_when_the_server_says_so_already() {
    let there = json!({"addresses": [{"type": "IPAddress", "value": "10.0.0.1"}],
        "conditions": [at(condition("Accepted", "True", 1), "then")],
        "listeners": [{"name": "a", "attachedRoutes": 3, "conditions": [at(condition("Accepted", "True", 1), "then")]}]});
    let mut wanted = there.clone();
    wanted["conditions"] = json!([condition("Accepted", "True", 1)]);
    wanted["listeners"][0]["conditions"] = json!([condition("Accepted", "True", 1)]);
    assert_eq!(patch(Kind::Gateway, &there, Some(&wanted), US, "now"), None);
    let ours = entry(US, "web", json!([condition("Accepted", "True", 1)]));
    let there = json!({"parents": [entry(US, "web", json!([at(condition("Accepted", "True", 1), "then")]))]});
    assert_eq!(patch(Kind::HttpRoute, &there, Some(&json!({"parents": [ours]})), US, "now"), None);
}

#[test]
fn entries_of_other_controllers_stay_and_stale_ones_of_ours_go() {
    let other = entry("example.com/other", "web", json!([at(condition("Accepted", "False", 1), "then")]));
    let there = json!({"parents": [
        entry(US, "gone", json!([at(condition("Accepted", "True", 1), "then")])),
        other.clone(),
        entry(US, "web", json!([at(condition("Accepted", "True", 1), "then")])),
    ]});
    let wanted = json!({"parents": [entry(US, "web", json!([condition("Accepted", "True", 2)]))]});
    let expected = json!({"parents": [other.clone(), entry(US, "web", json!([at(condition("Accepted", "True", 2), "then")]))]});
    assert_eq!(patch(Kind::HttpRoute, &there, Some(&wanted), US, "now"), Some(expected));
    assert_eq!(patch(Kind::HttpRoute, &there, None, US, "now"), Some(json!({"parents": [other.clone()]})));
    assert_eq!(patch(Kind::HttpRoute, &json!({"parents": [other]}), None, US, "now"), None);
    assert_eq!(patch(Kind::HttpRoute, &Value::Null, None, US, "now"), None);
}

#[test]
fn a_gateway_of_another_class_keeps_its_status_and_foreign_conditions_stay() {
    let foreign = at(condition("example.com/Ready", "True", 1), "then");
    let there = json!({"conditions": [at(condition("Scheduled", "Unknown", 0), "then"), foreign.clone()], "addresses": []});
    assert_eq!(patch(Kind::Gateway, &there, None, US, "now"), None);
    let wanted = json!({"conditions": [condition("Accepted", "True", 1)]});
    assert_eq!(
        patch(Kind::Gateway, &there, Some(&wanted), US, "now"),
        Some(
            json!({"conditions": [at(condition("Accepted", "True", 1), "now"), foreign], "addresses": null})
        )
    );
}

#[test]
fn a_route_has_at_most_32_entries() {
    let other = |index: usize| entry("example.com/other", &format!("g{index}"), json!([]));
    let there = json!({"parents": (0..31).map(other).collect::<Vec<_>>()});
    let ours = |index: usize| entry(US, &format!("w{index}"), json!([condition("Accepted", "True", 1)]));
    let wanted = json!({"parents": [ours(0), ours(1)]});
    let patch = patch(Kind::HttpRoute, &there, Some(&wanted), US, "now").unwrap();
    assert_eq!(patch["parents"].as_array().unwrap().len(), 32);
}

#[test]
fn conditions_of_a_kind_that_others_judge_too_stand_beside_theirs() {
    let foreign = at(condition("Reconciled", "True", 1), "then");
    let own = condition("sluice.dev/Accepted", "True", 1);
    let there = json!({"observedGeneration": 1, "conditions": [foreign.clone(), at(own.clone(), "then")]});
    let wanted = json!({"conditions": [own]});
    assert_eq!(patch(Kind::DestinationRule, &there, Some(&wanted), US, "now"), None);
    let refused = condition("sluice.dev/Accepted", "False", 2);
    assert_eq!(
        patch(Kind::DestinationRule, &there, Some(&json!({"conditions": [refused.clone()]})), US, "now"),
        Some(json!({"conditions": [foreign.clone(), at(refused, "now")]}))
    );
    assert_eq!(patch(Kind::DestinationRule, &there, None, US, "now"), Some(json!({"conditions": [foreign]})));
    assert_eq!(patch(Kind::DestinationRule, &Value::Null, None, US, "now"), None);
}

#[test]
fn a_flap_is_a_programmed_gateway_that_waits_for_its_data_planes() {
    let programmed = |status: &str, reason: &str| json!({"conditions": [{"type": "Programmed", "status": status, "reason": reason}]});
    assert!(is_pending_again(&programmed("True", "Programmed"), &programmed("False", "Pending")));
    assert!(!is_pending_again(&programmed("True", "Programmed"), &programmed("False", "Invalid")));
    assert!(!is_pending_again(&programmed("Unknown", "Pending"), &programmed("False", "Pending")));
    assert!(!is_pending_again(&Value::Null, &programmed("False", "Pending")));
}

#[test]
fn the_generation_of_a_status_is_the_newest_of_its_conditions() {
    let status = json!({"listeners": [{"conditions": [condition("A", "True", 7)]}], "conditions": [condition("A", "True", 6)]});
    assert_eq!(generation(&status), Some(7));
    assert_eq!(generation(&json!({"parents": []})), None);
}
