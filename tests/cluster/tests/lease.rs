//! Two replicas and one lease.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control;

use control::{Replica, gateway, is_accepted, route, until};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use sluice_cluster_tests::{Space, shared};
use std::time::{Duration, Instant};

async fn holder(space: &Space, name: &str) -> Lease {
    let is = |it: &Lease| it.spec.as_ref().and_then(|it| it.holder_identity.as_deref()) == Some(name);
    space.until(&format!("{name} leads"), "sluice-controller", is).await
}

#[test]
fn a_replica_that_ends_hands_its_lease_over_within_two_seconds() {
    shared(async |space| {
        let first = Replica::start(&space, "first");
        holder(&space, "first").await;
        let second = Replica::start(&space, "second");
        space.apply(&gateway(&space)).await;
        space.apply(&route("before")).await;
        until(&space, "a status", ("HTTPRoute", "before"), |it| is_accepted(&space, it)).await;
        let ended = Instant::now();
        first.stop().await;
        let lease = holder(&space, "second").await;
        let took = ended.elapsed();
        assert!(took <= Duration::from_secs(2), "{took:?}");
        assert_eq!(lease.spec.unwrap().lease_transitions, Some(1));
        space.apply(&route("after")).await;
        until(&space, "a status", ("HTTPRoute", "after"), |it| is_accepted(&space, it)).await;
        println!("hand-over in {took:?}");
        second.stop().await;
        let released = |it: &Lease| it.spec.as_ref().unwrap().holder_identity.as_deref() == Some("");
        space.until::<Lease>("the lease is given back", "sluice-controller", released).await;
    });
}

#[test]
fn a_replica_that_lost_its_lease_writes_nothing_until_it_has_it_again() {
    shared(async |space| {
        let replica = Replica::start(&space, "ours");
        space.apply(&gateway(&space)).await;
        space.apply(&route("before")).await;
        until(&space, "a status", ("HTTPRoute", "before"), |it| is_accepted(&space, it)).await;
        let taken =
            json!({"spec": {"holderIdentity": "another", "leaseTransitions": 7, "leaseDurationSeconds": 5}});
        let leases = space.api::<Lease>();
        leases.patch("sluice-controller", &PatchParams::default(), &Patch::Merge(&taken)).await.unwrap();
        let since = Instant::now();
        // Its next renewal meets the other's name; what is written until then was begun as holder.
        space
            .until::<Lease>("a look at the lease", "sluice-controller", |_| {
                since.elapsed() > Duration::from_secs(3)
            })
            .await;
        space.apply(&route("meanwhile")).await;
        until(&space, "a status", ("HTTPRoute", "meanwhile"), |it| is_accepted(&space, it)).await;
        let lease = leases.get("sluice-controller").await.unwrap().spec.unwrap();
        assert_eq!((lease.holder_identity.as_deref(), lease.lease_transitions), (Some("ours"), Some(8)));
        assert!(since.elapsed() >= Duration::from_secs(5), "the other's time was respected");
        replica.stop().await;
    });
}
