//! How many data planes run, and how many may be away.

use super::Making;
use serde_json::{Value, json};
use sluice_translate::{Amount, Autoscaling, Disruption};

/// The HorizontalPodAutoscaler.
pub(super) fn autoscaler(making: &Making<'_>, it: &Autoscaling) -> Value {
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": making.metadata(&making.name),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": making.name},
            "minReplicas": it.min_replicas,
            "maxReplicas": it.max_replicas,
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": it.cpu_utilization_percent},
            }}],
        },
    })
}

/// The PodDisruptionBudget.
pub(super) fn budget(making: &Making<'_>, it: &Disruption) -> Value {
    let (field, amount) = match it {
        Disruption::MinAvailable(amount) => ("minAvailable", amount),
        Disruption::MaxUnavailable(amount) => ("maxUnavailable", amount),
    };
    let amount = match amount {
        Amount::Count(count) => json!(count),
        Amount::Percent(percent) => json!(format!("{percent}%")),
    };
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": making.metadata(&making.name),
        "spec": {field: amount, "selector": {"matchLabels": making.selector()}},
    })
}
