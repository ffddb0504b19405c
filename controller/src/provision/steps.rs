//! What has to be done so that a Gateway has what it needs: the difference between the objects as they should be and as
//! they are. Pure.

use super::compare;
use super::kinds::OwnedKind;
use super::live::{Key, Live};
use super::objects::Desired;
use serde_json::Value;
use sluice_translate::{GatewayPlan, Management};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One request to the API server.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Make the object, or change it.
    Apply {
        /// As it should be.
        desired: Box<Desired>,
        /// Replicas that the Deployment keeps although they are no longer ours to say: an autoscaler takes over.
        kept_replicas: Option<u64>,
    },
    /// Delete the object, if it is still this one.
    Delete {
        /// Which.
        key: Key,
        /// Its uid.
        uid: String,
    },
}

/// How an object looked when it was applied.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Applied {
    /// Of what was applied.
    pub(super) hash: String,
    /// What the server made of it.
    pub(super) seen: Value,
}

impl Applied {
    /// From the server's answer.
    pub(super) fn new(desired: &Desired, answer: &Live) -> Self {
        Self { hash: desired.hash.clone(), seen: compare::seen(&desired.value, &answer.value) }
    }
}

/// The steps, and whether some of them only undo what somebody else did.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Difference {
    pub(super) steps: Vec<Step>,
    pub(super) heals: bool,
}

/// What differs.
pub(super) fn difference(
    plan: &GatewayPlan,
    desired: Vec<Desired>,
    live: &[Arc<Live>],
    applied: &BTreeMap<Key, Applied>,
) -> Difference {
    let mut difference = Difference::default();
    let there: BTreeMap<Key, &Arc<Live>> = live.iter().map(|it| (it.key(), it)).collect();
    let is_managed = matches!(plan.management, Management::Managed(_));
    let wanted: Vec<Key> = desired.iter().map(key).collect();
    for desired in desired {
        let key = key(&desired);
        let now = there.get(&key).copied();
        let last = applied.get(&key);
        if is_settled(&desired, now, last) {
            continue;
        }
        difference.heals |= last.is_some_and(|it| it.hash == desired.hash);
        if let Some(old) = now.filter(|old| keeps_other_address(&desired, old)) {
            difference.steps.extend(delete(old));
        }
        let kept_replicas = now.and_then(|it| kept_replicas(&desired, it));
        difference.steps.push(Step::Apply { desired: Box::new(desired), kept_replicas });
    }
    // A Service without a port can't be; the one that is there keeps its address for better days.
    let stays = |it: &Live| it.is_deleting || (it.kind == OwnedKind::Service && plan.ports.is_empty());
    if is_managed {
        let surplus = live.iter().filter(|it| !wanted.contains(&it.key()) && !stays(it));
        difference.steps.extend(surplus.filter_map(delete));
    }
    difference
}

/// Whether an object is as it should be. `last` knows what the server makes of what was applied; without it (after a
/// restart) one apply more may be needed, which changes nothing.
fn is_settled(desired: &Desired, now: Option<&Arc<Live>>, last: Option<&Applied>) -> bool {
    let Some(now) = now else { return false };
    if now.is_deleting {
        return true;
    }
    if now.hash.as_ref() != Some(&desired.hash) {
        return false;
    }
    let seen = compare::seen(&desired.value, &now.value);
    match last.filter(|it| it.hash == desired.hash) {
        Some(last) => seen == last.seen,
        None => seen == desired.value,
    }
}

/// A Service's cluster IP can't be changed, only made anew.
fn keeps_other_address(desired: &Desired, now: &Live) -> bool {
    let wanted = desired.value.pointer("/spec/clusterIP").filter(|_| desired.kind == OwnedKind::Service);
    wanted.is_some_and(|wanted| now.value.pointer("/spec/clusterIP").is_some_and(|it| it != wanted))
}

/// Whoever stops applying a field that nobody else has said anything of takes it away, and a Deployment would fall to
/// one replica until the autoscaler acts.
fn kept_replicas(desired: &Desired, now: &Live) -> Option<u64> {
    if desired.kind != OwnedKind::Deployment || desired.value.pointer("/spec/replicas").is_some() {
        return None;
    }
    now.value.pointer("/spec/replicas").and_then(Value::as_u64)
}

pub(super) fn delete(it: &Arc<Live>) -> Option<Step> {
    Some(Step::Delete { key: it.key(), uid: it.uid.clone()? })
}

fn key(desired: &Desired) -> Key {
    (desired.kind, desired.namespace.clone(), desired.name.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{Applied, Difference, Step, difference};
    use crate::provision::kinds::OwnedKind;
    use crate::provision::live::{Key, Live};
    use crate::provision::objects::{Common, Desired, desired};
    use serde_json::{Value, json};
    use sluice_crds::{Kind, ObjectRef};
    use sluice_translate::{Autoscaling, GatewayPlan, Management, PlannedPort, Workload};
    use std::collections::BTreeMap;
    use std::net::IpAddr;
    use std::sync::Arc;

    fn plan(workload: Workload) -> GatewayPlan {
        GatewayPlan {
            reference: ObjectRef::new(Kind::Gateway, "edge", "web"),
            uid: Some("1".to_owned()),
            generation: Some(1),
            class: "sluice".to_owned(),
            is_accepted: true,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            addresses: Vec::new(),
            ports: vec![PlannedPort {
                name: "http-80".to_owned(),
                port: 80,
                protocol: sluice_translate::Transport::Tcp,
                target: 10_080,
            }],
            management: Management::Managed(Box::new(workload)),
        }
    }

    fn objects(plan: &GatewayPlan, cluster_ips: &[IpAddr]) -> Vec<Desired> {
        let common =
            Common { image: "image".to_owned(), controller: "https://c".to_owned(), ca: "pem".to_owned() };
        desired(plan, &common, cluster_ips)
    }

    fn live(desired: &Desired, change: impl FnOnce(&mut Value)) -> Arc<Live> {
        let mut value = desired.value.clone();
        value["metadata"]["uid"] = json!(format!("of {:?}", desired.kind));
        value["status"] = json!({"filled": "in"});
        change(&mut value);
        Arc::new(Live::read(desired.kind, serde_json::from_value(value).unwrap()))
    }

    fn same(desired: &[Desired]) -> Vec<Arc<Live>> {
        desired.iter().map(|it| live(it, |_| {})).collect()
    }

    fn applied(desired: &[Desired]) -> BTreeMap<Key, Applied> {
        let all = desired.iter().map(|it| live(it, |_| {}));
        all.zip(desired).map(|(live, desired)| (live.key(), Applied::new(desired, &live))).collect()
    }

    fn steps(difference: &Difference) -> Vec<String> {
        let name = |step: &Step| match step {
            Step::Apply { desired, kept_replicas } => {
                format!(
                    "apply {}{}",
                    desired.kind.name(),
                    kept_replicas.map(|it| format!(", {it} stay")).unwrap_or_default()
                )
            }
            Step::Delete { key, uid } => format!("delete {} {uid}", key.0.name()),
        };
        difference.steps.iter().map(name).collect()
    }

    #[test]
    fn nothing_is_done_when_all_is_as_it_should_be_also_after_a_restart() {
        let plan = plan(Workload::default());
        let desired = objects(&plan, &[]);
        let live = same(&desired);
        assert_eq!(difference(&plan, desired.clone(), &live, &applied(&desired)), Difference::default());
        assert_eq!(difference(&plan, desired, &live, &BTreeMap::new()), Difference::default());
        let all = difference(&plan, objects(&plan, &[]), &[], &BTreeMap::new());
        let made = ["apply ServiceAccount", "apply ConfigMap", "apply Service", "apply Deployment"];
        assert_eq!(steps(&all), made);
        assert!(!all.heals);
    }

    #[test]
    fn what_somebody_else_changed_is_undone_and_what_the_server_writes_its_own_way_is_left() {
        let plan = plan(Workload::default());
        let desired = objects(&plan, &[]);
        let deployment = desired.iter().position(|it| it.kind == OwnedKind::Deployment).unwrap();
        let mut now = same(&desired);
        now[deployment] = live(&desired[deployment], |it| it["spec"]["replicas"] = json!(7));
        let healing = difference(&plan, desired.clone(), &now, &applied(&desired));
        assert_eq!((steps(&healing), healing.heals), (vec!["apply Deployment".to_owned()], true));

        // Had the server answered like this to what was applied, it would be its way to write it.
        let answered = Applied::new(&desired[deployment], &now[deployment]);
        let mut known = applied(&desired);
        known.insert(now[deployment].key(), answered);
        assert_eq!(difference(&plan, desired, &now, &known), Difference::default());
    }

    #[test]
    fn what_is_turned_off_is_deleted_but_nothing_of_a_gateway_that_is_not_managed() {
        let scaling = Autoscaling { min_replicas: 2, max_replicas: 4, cpu_utilization_percent: 50 };
        let scaled = plan(Workload { autoscaling: Some(scaling), ..Workload::default() });
        let desired = objects(&scaled, &[]);
        let live = same(&desired);
        let fixed = plan(Workload::default());
        let fixing = difference(&fixed, objects(&fixed, &[]), &live, &applied(&desired));
        assert_eq!(
            steps(&fixing),
            ["apply Deployment", "delete HorizontalPodAutoscaler of HorizontalPodAutoscaler"]
        );

        let mut unmanaged = plan(Workload::default());
        unmanaged.management = Management::Unmanaged { service_account: None, addresses: Vec::new() };
        let leaving = difference(&unmanaged, objects(&unmanaged, &[]), &live, &applied(&desired));
        assert_eq!(leaving, Difference::default());
    }

    #[test]
    fn an_autoscaler_takes_over_without_a_step_down() {
        let fixed = plan(Workload { replicas: Some(5), ..Workload::default() });
        let live = same(&objects(&fixed, &[]));
        let scaling = Autoscaling { min_replicas: 2, max_replicas: 9, cpu_utilization_percent: 50 };
        let scaled = plan(Workload { autoscaling: Some(scaling), ..Workload::default() });
        let scaling = difference(&scaled, objects(&scaled, &[]), &live, &BTreeMap::new());
        assert_eq!(steps(&scaling), ["apply Deployment, 5 stay", "apply HorizontalPodAutoscaler"]);
    }

    #[test]
    fn a_service_without_a_port_stays_and_one_with_another_cluster_ip_is_made_anew() {
        let mut plan = plan(Workload::default());
        let live_objects = same(&objects(&plan, &[]));
        plan.ports.clear();
        assert_eq!(
            difference(&plan, objects(&plan, &[]), &live_objects, &BTreeMap::new()),
            Difference::default()
        );

        let mut workload = Workload::default();
        workload.service.r#type = sluice_crds::ServiceType::ClusterIP;
        plan = self::plan(workload);
        let any = objects(&plan, &[]);
        let service = any.iter().position(|it| it.kind == OwnedKind::Service).unwrap();
        let mut now = same(&any);
        now[service] = live(&any[service], |it| it["spec"]["clusterIP"] = json!("10.0.0.1"));
        let wanted = objects(&plan, &["10.0.0.2".parse().unwrap()]);
        let moving = difference(&plan, wanted, &now, &BTreeMap::new());
        assert_eq!(steps(&moving), ["delete Service of Service", "apply Service"]);
        now[service] =
            live(&any[service], |it| it["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
        let waiting =
            difference(&plan, objects(&plan, &["10.0.0.2".parse().unwrap()]), &now, &BTreeMap::new());
        assert_eq!(waiting, Difference::default(), "an object that goes is left until it is gone");
    }
}
