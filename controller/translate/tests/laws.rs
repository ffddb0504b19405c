//! The laws of the translation, over random sequences of changes in a small universe of objects: step by step equals
//! from scratch, the order of events does not matter, deltas in order equal the snapshot.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod universe;

use proptest::prelude::*;
use sluice_crds::Object;
use sluice_ir::Snapshot;
use sluice_translate::{Change, Options, Translator, translate};
use std::collections::BTreeMap;
use universe::{Slot, mesh_slots, slots};

/// Which slot changes, and to what: the number of a variant, or more for "gone".
type Event = (prop::sample::Index, prop::sample::Index);

fn change(slots: &[Slot], event: &Event) -> (usize, Option<Object>) {
    let slot = event.0.index(slots.len());
    // One more than there are variants: the object goes.
    let variant = event.1.index(slots[slot].variants.len() + 1);
    (slot, slots[slot].variants.get(variant).cloned())
}

fn check(slots: &[Slot], batches: &[Vec<Event>], options: Options) {
    let mut present: BTreeMap<usize, Object> = BTreeMap::new();
    let mut translator = Translator::new(options.clone());
    let mut replayed = Snapshot::default();
    for batch in batches {
        let mut changes = Vec::new();
        for event in batch {
            match change(slots, event) {
                (slot, Some(object)) => {
                    present.insert(slot, object.clone());
                    changes.push(Change::Upsert(object));
                }
                (slot, None) => {
                    present.remove(&slot);
                    changes.push(Change::Remove(slots[slot].reference.clone()));
                }
            }
        }
        let statuses_before = translator.statuses().clone();
        let plans_before = translator.plans().clone();
        let update = translator.apply(changes);
        replayed.apply(&update.delta);
        let whole = translate(options.clone(), present.values().cloned());
        assert_eq!(translator.snapshot(), whole.snapshot(), "step by step equals from scratch");
        assert_eq!(&replayed, translator.snapshot(), "deltas in order equal the snapshot");
        assert_eq!(translator.statuses(), whole.statuses());
        assert_eq!(translator.problems(), whole.problems());
        assert_eq!(translator.plans(), whole.plans());
        assert_eq!(translator.certificate_ends(), whole.certificate_ends());
        let reversed = translate(options.clone(), present.values().rev().cloned());
        assert_eq!(reversed.snapshot(), whole.snapshot(), "order does not matter");
        let all: std::collections::BTreeSet<_> =
            statuses_before.keys().chain(translator.statuses().keys()).cloned().collect();
        let changed: Vec<_> =
            all.into_iter().filter(|it| statuses_before.get(it) != translator.statuses().get(it)).collect();
        assert_eq!(update.statuses, changed, "exactly the changed statuses are named");
        let all: std::collections::BTreeSet<_> =
            plans_before.keys().chain(translator.plans().keys()).cloned().collect();
        let changed: Vec<_> =
            all.into_iter().filter(|it| plans_before.get(it) != translator.plan(it)).collect();
        assert_eq!(update.plans, changed, "exactly the changed plans are named");
    }
    for (slot, _) in std::mem::take(&mut present) {
        translator.apply([Change::Remove(slots[slot].reference.clone())]);
    }
    assert_eq!(translator.snapshot(), &Snapshot::default(), "nothing stays when all is gone");
    assert!(translator.statuses().is_empty() && translator.problems().is_empty());
    assert!(translator.plans().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn step_by_step_equals_from_scratch(
        batches in prop::collection::vec(prop::collection::vec(any::<Event>(), 1..5), 1..25),
        standalone in any::<bool>(),
    ) {
        check(slots(), &batches, Options { standalone, ..Options::default() });
    }

    #[test]
    fn step_by_step_equals_from_scratch_in_a_mesh(
        batches in prop::collection::vec(prop::collection::vec(any::<Event>(), 1..5), 1..25),
        mesh in prop::option::of(Just(true)),
    ) {
        check(mesh_slots(), &batches, Options { mesh, ..Options::default() });
    }
}

#[test]
fn every_variant_of_the_universe_can_be_read() {
    let count: usize = slots().iter().map(|it| it.variants.len()).sum();
    assert!(count >= 40, "{count}");
    let all: Vec<Object> = slots().iter().filter_map(|it| it.variants.first().cloned()).collect();
    let whole = translate(Options { standalone: true, ..Options::default() }, all);
    assert!(!whole.snapshot().routes.is_empty() && !whole.snapshot().certificates.is_empty());
    let carried: Vec<_> = whole.snapshot().stream_routes.keys().collect();
    assert!(carried.len() >= 4, "{carried:?}");
    let all = mesh_slots().iter().filter_map(|it| it.variants.first().cloned());
    let mesh = translate(Options::default(), all);
    let snapshot = mesh.snapshot();
    assert!(snapshot.workloads.len() >= 3 && snapshot.gateways.len() >= 4, "{snapshot:?}");
    let attached: Vec<_> =
        snapshot.routes.keys().filter(|it| it.as_str().starts_with("Mesh/HTTPRoute/")).collect();
    assert_eq!(attached.len(), 1, "the consumer's; a GRPCRoute has the producer's ports: {attached:?}");
}
