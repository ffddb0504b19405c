//! What is made for a Gateway, as YAML: `tests/provisioned/SENTENCE/input.yaml` holds a Gateway with its class and
//! parameters, `objects.yaml` the objects that come of it. `UPDATE_FIXTURES=1 cargo test -p sluice-controller --test
//! provisioned` rewrites them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod golden;

use serde_json::Value;
use sluice_controller::provision::{Common, desired};
use sluice_crds::{Object, Parsed};
use sluice_translate::{Options, translate};
use std::fs;
use std::path::Path;

#[test]
fn every_gateway_gets_the_objects_that_are_expected() {
    golden::check("provisioned", 4, run);
}

fn run(case: &Path) -> Result<(), String> {
    let text = fs::read_to_string(case.join("input.yaml")).unwrap();
    assert!(
        text.starts_with('#'),
        "{}: input.yaml must begin with the sentence that it proves",
        case.display()
    );
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let objects = documents.into_iter().map(|it| match Object::parse(it, "edge").unwrap() {
        Parsed::Known { object, unknown_fields } => {
            assert!(unknown_fields.is_empty(), "{unknown_fields:?}");
            object
        }
        Parsed::Ignored { kind, .. } => panic!("{kind} is not read"),
    });
    let translator = translate(Options::default(), objects);
    assert!(translator.problems().is_empty(), "{}: {:?}", case.display(), translator.problems());
    let common = Common {
        image: "registry.example/sluice-gateway:1".to_owned(),
        controller: "https://sluice-controller.sluice-system.svc:15010".to_owned(),
        ca: "-----BEGIN CERTIFICATE-----\n".to_owned(),
    };
    let plans = translator.plans().values();
    let requested =
        |it: &sluice_translate::GatewayPlan| it.addresses.iter().flatten().copied().collect::<Vec<_>>();
    let made: Vec<Value> =
        plans.flat_map(|plan| desired(plan, &common, &requested(plan))).map(|it| it.value).collect();
    let path = case.join("objects.yaml");
    let got: Vec<String> = made.iter().map(|it| serde_saphyr::to_string(it).unwrap()).collect();
    let got = got.join("---\n");
    golden::compare(&path, got)
}
