//! Fixtures: real manifests in, the IR and the statuses out, compared with the files beside them.
//!
//! `tests/fixtures/GROUP/SENTENCE/` holds `input.yaml` and the expected `ir.yaml` and `status.yaml`. A case of several
//! steps has `steps/01.yaml`, `02.yaml`, ... beside it: each holds objects to apply, `remove:` lists names to take
//! out, and `delta.yaml` holds the keys that each step sent. With a file `cluster` beside it a case is translated as in
//! a cluster: `infrastructure.yaml` (one document for each time something is told: Gateway to facts) is then told after
//! the objects, and `plans.yaml` holds what each Gateway needs. `issuance.yaml` likewise tells what came of orders, and
//! `orders.yaml` holds what issuers are to order. `mesh.yaml` has a root namespace and a cluster domain other than the usual
//! ones. Every case is translated from scratch, object by object
//! in two orders, and must come out the same each time.
//!
//! `UPDATE_FIXTURES=1 cargo test -p sluice-tests --test fixtures` rewrites the expectations.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use sluice_crds::{Kind, Object, ObjectRef, Parsed};
use sluice_ir::{Delta, Resource, Settings, Snapshot};
use sluice_translate::{
    AddressProblem, AddressReason, CertificateStanding, Change, GatewayAddress, Infrastructure, Issuance,
    IssuerStanding, Options, Orders, Problem, Status, Translator, WaitingFor, translate,
};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_fixture_comes_out_as_expected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let cases: Vec<PathBuf> = folders(&root).iter().flat_map(|group| folders(group)).collect();
    assert!(cases.len() >= 40, "only {} fixtures in {}", cases.len(), root.display());
    let wrong: Vec<String> = cases.iter().filter_map(|case| run(case).err()).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} fixtures differ:\n\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n\n")
    );
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut folders: Vec<PathBuf> = entries.map(|it| it.unwrap().path()).filter(|it| it.is_dir()).collect();
    folders.sort();
    folders
}

/// Runs one case.
fn run(case: &Path) -> Result<(), String> {
    let text = fs::read_to_string(case.join("input.yaml"))
        .map_err(|error| format!("{}: {error}", case.display()))?;
    assert!(
        text.starts_with('#'),
        "{}: input.yaml must begin with the sentence that it proves",
        case.display()
    );
    let (objects, removals) = read(&case.join("input.yaml"), &text);
    assert!(removals.is_empty(), "{}: nothing to remove in input.yaml", case.display());
    let mut whole = translate(options(case), objects.clone());
    let mut translator = Translator::new(options(case));
    let mut replayed = Snapshot::default();
    for object in objects.iter().rev() {
        replayed.apply(&translator.apply([Change::Upsert(object.clone())]).delta);
    }
    same(case, &whole, &translator, &replayed);
    for told in infrastructure(case) {
        whole.infrastructure(told.clone());
        assert!(
            translator.infrastructure(told).delta.is_empty(),
            "{}: facts change statuses only",
            case.display()
        );
    }
    for told in issuance(case) {
        whole.issuance(told.clone());
        assert!(
            translator.issuance(told).delta.is_empty(),
            "{}: orders change statuses only",
            case.display()
        );
    }
    same(case, &whole, &translator, &replayed);
    compare(&case.join("ir.yaml"), &ir(whole.snapshot()))?;
    compare(&case.join("status.yaml"), &statuses(case, &whole))?;
    if !options(case).standalone {
        compare(&case.join("plans.yaml"), &plans(&whole))?;
    }
    if !whole.orders().issuers.is_empty() {
        compare(&case.join("orders.yaml"), &orders(&whole))?;
    }
    assert!(whole.plans().is_empty() || !options(case).standalone, "{}: a plan in a folder", case.display());
    if case.join("steps").is_dir() { steps(case, objects, &mut translator, &mut replayed) } else { Ok(()) }
}

/// Applies the steps one by one and notes what each sends.
fn steps(
    case: &Path,
    objects: Vec<Object>,
    translator: &mut Translator,
    replayed: &mut Snapshot,
) -> Result<(), String> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(case.join("steps")).unwrap().map(|it| it.unwrap().path()).collect();
    files.retain(|it| it.file_name().is_some_and(|it| it != "delta.yaml"));
    files.sort();
    let mut objects = objects;
    let mut deltas = Vec::new();
    for file in files {
        let (upserts, removals) = read(&file, &fs::read_to_string(&file).unwrap());
        let changed: Vec<ObjectRef> =
            upserts.iter().map(Object::reference).chain(removals.iter().cloned()).collect();
        objects.retain(|it| !changed.contains(&it.reference()));
        objects.extend(upserts.iter().cloned());
        let changes = upserts.into_iter().map(Change::Upsert).chain(removals.into_iter().map(Change::Remove));
        let update = translator.apply(changes);
        replayed.apply(&update.delta);
        let mut whole = translate(options(case), objects.clone());
        for told in infrastructure(case) {
            whole.infrastructure(told);
        }
        for told in issuance(case) {
            whole.issuance(told);
        }
        same(case, &whole, translator, replayed);
        let mut step = json!({
            "step": file.file_stem().unwrap().to_string_lossy(),
            "delta": delta(&update.delta),
            "statuses": update.statuses,
        });
        if update.orders {
            step["orders"] = orders_of_step(&translator.orders());
        }
        if !options(case).standalone {
            step["plans"] = json!(update.plans);
        }
        deltas.push(step);
    }
    compare(&case.join("steps/delta.yaml"), &Value::Array(deltas))
}

/// From scratch, step by step and by deltas: all the same.
fn same(case: &Path, whole: &Translator, translator: &Translator, replayed: &Snapshot) {
    let name = case.display();
    assert_eq!(whole.snapshot(), translator.snapshot(), "{name}: step by step differs from scratch");
    assert_eq!(whole.snapshot(), replayed, "{name}: deltas in order differ from the snapshot");
    assert_eq!(whole.statuses(), translator.statuses(), "{name}: statuses step by step differ from scratch");
    assert_eq!(whole.problems(), translator.problems(), "{name}: problems step by step differ from scratch");
    assert_eq!(whole.orders(), translator.orders(), "{name}: orders step by step differ from scratch");
    assert_eq!(whole.plans(), translator.plans(), "{name}: plans step by step differ from scratch");
}

/// What is told of the infrastructure, as `edge/web: {addresses: [192.0.2.1], programmed: true}`,
/// `edge/web: {problem: "AddressNotUsable: why"}`.
fn infrastructure(case: &Path) -> Vec<Vec<(ObjectRef, Infrastructure)>> {
    let Ok(text) = fs::read_to_string(case.join("infrastructure.yaml")) else { return Vec::new() };
    let documents: Vec<serde_json::Map<String, Value>> = serde_saphyr::from_multiple(&text).unwrap();
    let gateway = |name: &str| reference(&format!("Gateway {name}"));
    let told =
        |it: serde_json::Map<String, Value>| it.iter().map(|(name, it)| (gateway(name), facts(it))).collect();
    documents.into_iter().map(told).collect()
}

fn facts(it: &Value) -> Infrastructure {
    let addresses = it["addresses"].as_array().into_iter().flatten().map(|it| it.as_str().unwrap());
    let problem = it["problem"].as_str().map(|it| it.split_once(": ").unwrap());
    Infrastructure {
        addresses: addresses
            .map(|it| GatewayAddress {
                r#type: if it.parse::<std::net::IpAddr>().is_ok() { "IPAddress" } else { "Hostname" },
                value: it.to_owned(),
            })
            .collect(),
        address_problem: problem.map(|(reason, message)| AddressProblem {
            reason: [
                AddressReason::AddressNotAssigned,
                AddressReason::AddressNotUsable,
                AddressReason::NoResources,
            ]
            .into_iter()
            .find(|it| it.word() == reason)
            .unwrap(),
            message: message.to_owned(),
        }),
        programmed: it["programmed"].as_bool().unwrap_or(false),
    }
}

/// What came of orders, as `certificates: {edge/web-tls: "WaitingForDNS: why"}`, `issuers: {edge/ca: ready}`.
fn issuance(case: &Path) -> Vec<Issuance> {
    let Ok(text) = fs::read_to_string(case.join("issuance.yaml")) else { return Vec::new() };
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let entries = |it: &Value| -> Vec<(String, String)> {
        let map = it.as_object().into_iter().flatten();
        map.map(|(name, it)| (name.clone(), it.as_str().unwrap().to_owned())).collect()
    };
    let standing = |text: &str| {
        let (reason, message) = text.split_once(": ").unwrap();
        let waiting_for = WaitingFor::ALL.into_iter().find(|it| it.reason() == reason).unwrap();
        CertificateStanding { waiting_for, message: message.to_owned() }
    };
    let issuer = |text: &str| match text {
        "ready" => IssuerStanding::Ready,
        why => IssuerStanding::NotReady(why.to_owned()),
    };
    let told = |it: Value| Issuance {
        certificates: entries(&it["certificates"])
            .iter()
            .map(|(name, it)| (reference(&format!("Secret {name}")), standing(it)))
            .collect(),
        issuers: entries(&it["issuers"])
            .iter()
            .map(|(name, it)| (reference(&format!("CertificateIssuer {name}")), issuer(it)))
            .collect(),
    };
    documents.into_iter().map(told).collect()
}

/// Issuers and what they are to order.
fn orders(translator: &Translator) -> Value {
    let orders = translator.orders();
    let issuers = orders.issuers.iter().map(|it| (it.reference.to_string(), json!(**it)));
    let mut shown = json!({"issuers": Value::Object(issuers.collect()), "certificates": orders.certificates});
    if !orders.on_demand.is_empty() {
        shown["onDemand"] = json!(orders.on_demand);
    }
    shown
}

/// What a step changes of orders: the certificates, and those of handshakes if there are any.
fn orders_of_step(orders: &Orders) -> Value {
    match orders.held.is_empty() && orders.on_demand.is_empty() {
        true => json!(orders.certificates),
        false => {
            json!({"certificates": orders.certificates, "onDemand": orders.on_demand, "held": orders.held})
        }
    }
}

/// The plan of each Gateway; the reference is the key already.
fn plans(translator: &Translator) -> Value {
    let shown = translator.plans().iter().map(|(gateway, plan)| {
        let mut plan = serde_json::to_value(plan).unwrap();
        plan.as_object_mut().unwrap().remove("reference");
        (gateway.to_string(), plan)
    });
    Value::Object(shown.collect())
}

/// A folder, unless `cluster` stands beside the input.
fn options(case: &Path) -> Options {
    let mut options = Options { standalone: !case.join("cluster").exists(), ..Options::default() };
    if let Ok(text) = fs::read_to_string(case.join("mesh.yaml")) {
        let mesh: Value = serde_saphyr::from_str(&text).unwrap();
        let name = |key: &str| mesh[key].as_str().unwrap().to_owned();
        (options.root_namespace, options.cluster_domain) = (name("rootNamespace"), name("clusterDomain"));
    }
    options
}

/// The objects of a file, and those it asks to remove.
fn read(path: &Path, text: &str) -> (Vec<Object>, Vec<ObjectRef>) {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut objects = Vec::new();
    let mut removals = Vec::new();
    for document in documents.into_iter().filter(|it| !it.is_null()) {
        if let Some(list) = document.get("remove").and_then(Value::as_array) {
            removals.extend(list.iter().map(|it| reference(it.as_str().unwrap())));
            continue;
        }
        match Object::parse(document, "default") {
            Ok(Parsed::Known { object, unknown_fields }) => {
                assert!(unknown_fields.is_empty(), "{}: unknown fields {unknown_fields:?}", path.display());
                objects.push(object);
            }
            Ok(Parsed::Ignored { kind, name, .. }) => panic!("{}: {kind} {name} is not read", path.display()),
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
    (objects, removals)
}

/// `HTTPRoute shop/cart`.
fn reference(text: &str) -> ObjectRef {
    let (kind, name) = text.split_once(' ').unwrap();
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    let kind = Kind::ALL.into_iter().find(|it| it.name() == kind).unwrap();
    ObjectRef::new(kind, namespace, name)
}

/// The snapshot as YAML shows it: standard settings by that word.
fn ir(snapshot: &Snapshot) -> Value {
    let mut value = serde_json::to_value(snapshot).unwrap();
    let standard = serde_json::to_value(Settings::standard()).unwrap();
    for gateway in value["gateways"].as_object_mut().unwrap().values_mut() {
        if gateway["settings"] == standard {
            gateway["settings"] = json!("standard");
        }
    }
    value.as_object_mut().unwrap().retain(|_, map| map.as_object().is_none_or(|it| !it.is_empty()));
    value
}

/// Statuses and problems, each condition and problem on one line.
/// A ServiceEntry that is well is shown in cases about ServiceEntries only: they are in most.
fn statuses(case: &Path, translator: &Translator) -> Value {
    let mut statuses = serde_json::Map::new();
    let is_about_entries = case.parent().is_some_and(|it| it.ends_with("service-entry"));
    for (object, status) in translator.statuses() {
        let is_well = |status: &Status| matches!(status, Status::Entry(it) if matches!(it.conditions.as_slice(), [only] if only.message.is_empty()));
        if !is_about_entries && is_well(status) {
            continue;
        }
        let mut shown = serde_json::to_value(status).unwrap();
        shorten(&mut shown);
        statuses.insert(object.to_string(), shown);
    }
    let problems: Vec<String> = translator.problems().iter().map(problem_line).collect();
    json!({"statuses": statuses, "problems": problems})
}

/// `Accepted=False UnsupportedValue @3: message` for a condition judged at generation 3.
fn condition_line(condition: &Value) -> String {
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let generation = condition["observedGeneration"].as_i64().map(|it| format!(" @{it}")).unwrap_or_default();
    let message =
        Some(text("message")).filter(|it| !it.is_empty()).map(|it| format!(": {it}")).unwrap_or_default();
    format!("{}={} {}{generation}{message}", text("type"), text("status"), text("reason"))
}

fn problem_line(it: &Problem) -> String {
    let severity = format!("{:?}", it.severity).to_lowercase();
    let field = if it.field.is_empty() { String::new() } else { format!(" {}", it.field) };
    let next_step = if it.next_step.is_empty() { String::new() } else { format!(" -> {}", it.next_step) };
    format!("{severity} {}{field}: {}{next_step}", it.object, it.message)
}

fn shorten(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match name.as_str() {
                    "conditions" => {
                        let lines: Vec<String> =
                            field.as_array().unwrap().iter().map(condition_line).collect();
                        *field = json!(lines);
                    }
                    "supportedKinds" => {
                        let kinds = field.as_array().unwrap().iter();
                        let kinds: Vec<&str> = kinds.map(|it| it["kind"].as_str().unwrap()).collect();
                        *field = json!(kinds.join(" "));
                    }
                    // The list is the same for every class.
                    "supportedFeatures" => *field = json!("as in FEATURES"),
                    _ => shorten(field),
                }
            }
        }
        _ => {}
    }
}

fn delta(delta: &Delta) -> Value {
    let upserts: Vec<Value> =
        delta.upserts.iter().map(|it: &Resource| serde_json::to_value(it.key()).unwrap()).collect();
    json!({"upserts": upserts, "removals": delta.removals})
}

/// Compares with the file, or rewrites it.
fn compare(path: &Path, value: &Value) -> Result<(), String> {
    let text = serde_saphyr::to_string(value).unwrap();
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        return fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()));
    }
    let expected = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let expected: Value =
        serde_saphyr::from_str(&expected).map_err(|error| format!("{}: {error}", path.display()))?;
    if expected == *value {
        return Ok(());
    }
    let (old, new) = (serde_saphyr::to_string(&expected).unwrap(), text);
    let line = old.lines().zip(new.lines()).position(|(old, new)| old != new).unwrap_or(0);
    let around =
        |text: &str| text.lines().skip(line.saturating_sub(3)).take(8).collect::<Vec<_>>().join("\n  ");
    Err(format!(
        "{} line {}\nexpected:\n  {}\ngot:\n  {}",
        path.display(),
        line + 1,
        around(&old),
        around(&new)
    ))
}
