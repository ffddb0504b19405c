//! `localityLbSetting` of a DestinationRule.

use super::model::{Blocks, Near, Traffic};
use super::values::Faults;
use sluice_crds::{DistributeSpec, FailoverSpec, LocalitySpec};
use sluice_ir::{
    Distribution, Failover, Locality, LocalityPattern, LocalityPolicy, NotALocality, REGION_LABEL,
    SUBZONE_LABEL, WantedLabel, ZONE_LABEL,
};
use std::collections::BTreeMap;

/// Most places that one `to` may name: a data plane parts endpoints into so many levels.
const MOST_PLACES: usize = 16;
/// Most entries of the other lists.
const MOST_ENTRIES: usize = 64;
/// Most labels: one level more than that.
const MOST_LABELS: usize = 15;

/// Labels that are alike wherever there is one network and one cluster (Istio).
const ONE_FOR_ALL: [&str; 2] = ["topology.istio.io/network", "topology.istio.io/cluster"];
const OF_PLACES: [&str; 3] = [REGION_LABEL, ZONE_LABEL, SUBZONE_LABEL];

/// `is_service`: whether the rule is for a Service, whose endpoints have no labels here.
pub(super) fn locality(it: &LocalitySpec, is_service: bool, field: &str, faults: &mut Faults) -> Near {
    if it.enabled == Some(false) {
        return Near::Off;
    }
    let has_failover = !it.failover.is_empty() || !it.failover_priority.is_empty();
    if !it.distribute.is_empty() {
        if has_failover {
            let message = "failover and failoverPriority have no effect beside distribute";
            faults.refuse(field, message, "keep distribute, or remove it");
        }
        let field = format!("{field}.distribute");
        let entries = bounded(&it.distribute, MOST_ENTRIES, &field, faults).iter().enumerate();
        let read = entries.filter_map(|(index, it)| distribution(it, &format!("{field}[{index}]"), faults));
        return Near::On(LocalityPolicy::Distribute(read.collect()));
    }
    Near::On(LocalityPolicy::Failover(Failover {
        labels: labels(&it.failover_priority, is_service, &format!("{field}.failoverPriority"), faults),
        regions: regions(&it.failover, &format!("{field}.failover"), faults),
    }))
}

fn distribution(it: &DistributeSpec, field: &str, faults: &mut Faults) -> Option<Distribution> {
    let from = pattern(&it.from, format!("{field}.from"), faults);
    let (mut to, mut total) = (Vec::new(), 0_i64);
    for (place, percent) in &it.to {
        let place = pattern(place, format!("{field}.to"), faults);
        total = total.saturating_add(*percent);
        let Ok(percent @ 0..=100) = u8::try_from(*percent) else {
            let message = format!("{percent} is no percentage; the entry has no effect");
            faults.refuse(format!("{field}.to"), message, "use 0 to 100");
            return None;
        };
        to.push((place?, percent));
    }
    if total != 100 {
        let message =
            format!("the shares of {:?} come to {total}, not to 100; the entry has no effect", it.from);
        faults.refuse(format!("{field}.to"), message, "let them come to 100");
        return None;
    }
    if to.len() > MOST_PLACES {
        let message = format!("{} places are too many; the entry has no effect", to.len());
        faults.refuse(format!("{field}.to"), message, format!("name at most {MOST_PLACES}"));
        return None;
    }
    Some(Distribution { from: from?, to })
}

fn pattern(text: &str, field: String, faults: &mut Faults) -> Option<LocalityPattern> {
    let next_step = "write REGION/ZONE/SUBZONE, with * in place of the last parts for all";
    text.parse().map_err(|error: NotALocality| faults.refuse(field, error.to_string(), next_step)).ok()
}

fn regions(list: &[FailoverSpec], field: &str, faults: &mut Faults) -> BTreeMap<String, String> {
    let mut regions = BTreeMap::new();
    for (index, it) in bounded(list, MOST_ENTRIES, field, faults).iter().enumerate() {
        let field = format!("{field}[{index}]");
        let is_region = |text: &str| text.parse::<Locality>().is_ok() && !text.contains('/');
        if !is_region(&it.from) || !is_region(&it.to) {
            let message = format!("{:?} to {:?}: both must be regions", it.from, it.to);
            faults.refuse(field, message, "name regions, without zones and wildcards");
        } else if it.from == it.to {
            faults.refuse(field, format!("{:?} can't stand in for itself", it.to), "name another region");
        } else if regions.contains_key(&it.from) {
            faults.refuse(
                field,
                format!("region {:?} is there twice; the first counts", it.from),
                "remove one",
            );
        } else {
            regions.insert(it.from.clone(), it.to.clone());
        }
    }
    regions
}

fn labels(list: &[String], is_service: bool, field: &str, faults: &mut Faults) -> Vec<WantedLabel> {
    let mut labels = Vec::new();
    for (index, text) in bounded(list, MOST_LABELS, field, faults).iter().enumerate() {
        let field = format!("{field}[{index}]");
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text.as_str(), None),
        };
        let is_of_places = OF_PLACES.contains(&name);
        if name.is_empty() {
            faults.refuse(field, format!("{text:?} names no label"), "write LABEL or LABEL=VALUE");
        } else if value.is_none() && ONE_FOR_ALL.contains(&name) {
            // All endpoints have the data plane's.
        } else if value.is_none() && !is_of_places {
            let message = format!(
                "has no effect: a gateway has the labels of its place only, and {name:?} is none of them"
            );
            faults.refuse(field, message, format!("write {name}=VALUE"));
        } else {
            if is_service && !is_of_places {
                let message =
                    format!("endpoints of a Service have the labels of their places only: none has {name:?}");
                faults.warn(
                    &field,
                    message,
                    "use labels of places, or a ServiceEntry whose endpoints have it",
                );
            }
            labels.push(WantedLabel { name: name.to_owned(), value });
        }
    }
    labels
}

/// The first entries, as many as count.
fn bounded<'a, T>(list: &'a [T], most: usize, field: &str, faults: &mut Faults) -> &'a [T] {
    if list.len() > most {
        let message = format!("{} entries are too many; the first {most} count", list.len());
        faults.refuse(field, message, "remove some");
    }
    list.get(..most).unwrap_or(list)
}

/// Says where failover is asked for and endpoints are never left out: nothing would ever fail over. `fallback` is what
/// holds where `traffic` says nothing.
pub(super) fn check(traffic: &Traffic, fallback: Option<&Traffic>, field: &str, faults: &mut Faults) {
    let mut check = |blocks: &Blocks, ejects: bool, field: String| {
        let near = blocks.load.as_ref().and_then(|it| it.near.as_ref());
        if matches!(near, Some(Near::On(LocalityPolicy::Failover(_)))) && !ejects {
            faults.refuse(
                format!("{field}.loadBalancer.localityLbSetting"),
                "failover has no effect without outlierDetection: endpoints would never be left out",
                "add outlierDetection, or use distribute",
            );
        }
    };
    let by_fallback = fallback.is_some_and(|it| it.all.ejection.is_some());
    check(&traffic.all, traffic.all.ejection.is_some() || by_fallback, field.to_owned());
    for (port, blocks) in &traffic.ports {
        check(blocks, blocks.ejection.is_some(), format!("{field}.portLevelSettings[port {port}]"));
    }
}
