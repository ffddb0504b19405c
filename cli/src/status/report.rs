//! What `sluice status` tells, for programs and as tables.

use serde::Serialize;
use std::fmt::Write as _;

/// The whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The controller; none when it is not installed.
    pub controller: Option<ControllerReport>,
    /// Gateways, by namespace and name.
    pub gateways: Vec<GatewayReport>,
    /// Routes, by namespace, kind and name.
    pub routes: Vec<RouteReport>,
    /// What is not as it should be, with the reason.
    pub problems: Vec<Problem>,
    /// What could not be asked, and why.
    pub notes: Vec<String>,
}

/// The controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ControllerReport {
    /// Its namespace.
    pub namespace: String,
    /// Its image.
    pub image: String,
    /// Replicas that should run.
    pub replicas: i32,
    /// Replicas that are ready.
    pub ready: i32,
    /// The replica that writes statuses.
    pub leader: Option<String>,
}

/// A Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayReport {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Its GatewayClass.
    pub class: String,
    /// `status.addresses`.
    pub addresses: Vec<String>,
    /// Whether the controller took it.
    pub accepted: bool,
    /// Whether its proxies serve it as it is now.
    pub programmed: bool,
    /// Routes attached to its listeners, those of its ListenerSets not counted.
    pub attached_routes: u64,
    /// Its proxies; none when the controller could not be asked.
    pub proxies: Option<ProxiesReport>,
}

/// The proxies of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxiesReport {
    /// Connected to the controller.
    pub connected: u32,
    /// Of them, those that serve the newest configuration.
    pub in_sync: u32,
    /// The others.
    pub behind: Vec<Behind>,
}

/// A proxy that does not serve the newest configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Behind {
    /// Name of its pod.
    pub name: String,
    /// Why.
    pub why: Vec<String>,
}

/// A route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteReport {
    /// `HTTPRoute`.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `spec.hostnames`.
    pub hostnames: Vec<String>,
    /// Each parent of ours.
    pub parents: Vec<ParentReport>,
}

/// How a route stands at one parent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentReport {
    /// `Gateway shop/web section "https"`.
    pub parent: String,
    /// Whether it is attached.
    pub accepted: bool,
    /// Whether all that it names was found and may be named.
    pub resolved_refs: bool,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `Gateway shop/web listener "https"`.
    pub object: String,
    /// What and why.
    pub message: String,
}

impl Report {
    /// The report for people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        match &self.controller {
            Some(it) => {
                let leader = it.leader.as_deref().map(|name| format!(", {name} writes")).unwrap_or_default();
                let _ = writeln!(
                    text,
                    "controller  {}: {} of {} replicas ready{leader} ({})",
                    it.namespace, it.ready, it.replicas, it.image
                );
            }
            None => text.push_str("controller  not installed\n"),
        }
        text.push('\n');
        text.push_str(&self.gateways());
        if !self.routes.is_empty() {
            text.push('\n');
            text.push_str(&self.routes());
        }
        if !self.problems.is_empty() {
            text.push_str("\nproblems:\n");
            for problem in &self.problems {
                let _ = writeln!(text, "  {}: {}", problem.object, problem.message);
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "\nnote: {note}");
        }
        text
    }

    fn gateways(&self) -> String {
        if self.gateways.is_empty() {
            return "no Gateways of Sluice's classes\n".to_owned();
        }
        let mut rows =
            vec![row(["GATEWAY", "CLASS", "ADDRESS", "ACCEPTED", "PROGRAMMED", "ROUTES", "IN SYNC"])];
        for it in &self.gateways {
            let in_sync = it.proxies.as_ref().map_or("?".to_owned(), |it| match it.connected {
                0 => "no proxy".to_owned(),
                connected => format!("{} of {connected}", it.in_sync),
            });
            rows.push(vec![
                format!("{}/{}", it.namespace, it.name),
                it.class.clone(),
                if it.addresses.is_empty() { "-".to_owned() } else { it.addresses.join(",") },
                yes(it.accepted),
                yes(it.programmed),
                it.attached_routes.to_string(),
                in_sync,
            ]);
        }
        table(&rows)
    }

    fn routes(&self) -> String {
        let mut rows = vec![row(["ROUTE", "KIND", "HOSTNAMES", "PARENT", "ACCEPTED", "RESOLVED"])];
        for it in &self.routes {
            for (index, parent) in it.parents.iter().enumerate() {
                let first = |text: String| if index == 0 { text } else { String::new() };
                rows.push(vec![
                    first(format!("{}/{}", it.namespace, it.name)),
                    first(it.kind.clone()),
                    first(hostnames(&it.hostnames)),
                    parent.parent.clone(),
                    yes(parent.accepted),
                    yes(parent.resolved_refs),
                ]);
            }
        }
        table(&rows)
    }
}

/// The first two and how many more.
fn hostnames(names: &[String]) -> String {
    match names {
        [] => "*".to_owned(),
        [one] => one.clone(),
        [one, two] => format!("{one},{two}"),
        [one, two, more @ ..] => format!("{one},{two},+{}", more.len()),
    }
}

fn yes(holds: bool) -> String {
    if holds { "yes".to_owned() } else { "NO".to_owned() }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Columns as wide as their widest cell.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|it| it.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{ControllerReport, GatewayReport, ParentReport, Problem, ProxiesReport, Report, RouteReport};

    #[test]
    fn tables_are_for_people() {
        let report = Report {
            controller: Some(ControllerReport {
                namespace: "sluice-system".into(),
                image: "sluice-controller:1".into(),
                replicas: 2,
                ready: 2,
                leader: Some("sluice-controller-a".into()),
            }),
            gateways: vec![GatewayReport {
                namespace: "shop".into(),
                name: "web".into(),
                class: "sluice".into(),
                accepted: true,
                attached_routes: 1,
                proxies: Some(ProxiesReport { connected: 2, in_sync: 1, behind: Vec::new() }),
                ..GatewayReport::default()
            }],
            routes: vec![RouteReport {
                kind: "HTTPRoute".into(),
                namespace: "shop".into(),
                name: "cart".into(),
                hostnames: vec!["a.example.com".into(), "b.example.com".into(), "c.example.com".into()],
                parents: vec![ParentReport {
                    parent: "Gateway shop/web".into(),
                    accepted: true,
                    resolved_refs: true,
                }],
            }],
            problems: vec![Problem { object: "Gateway shop/web".into(), message: "not yet".into() }],
            notes: vec!["the controller's admin port can't be reached".into()],
        };
        let expected = "\
controller  sluice-system: 2 of 2 replicas ready, sluice-controller-a writes (sluice-controller:1)

GATEWAY   CLASS   ADDRESS  ACCEPTED  PROGRAMMED  ROUTES  IN SYNC
shop/web  sluice  -        yes       NO          1       1 of 2

ROUTE      KIND       HOSTNAMES                       PARENT            ACCEPTED  RESOLVED
shop/cart  HTTPRoute  a.example.com,b.example.com,+1  Gateway shop/web  yes       yes

problems:
  Gateway shop/web: not yet

note: the controller's admin port can't be reached
";
        assert_eq!(report.to_text(), expected);
    }
}
