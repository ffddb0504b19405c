//! GatewayClass: which Gateways are ours, and the status of a class that is.

use super::features::FEATURES;
use super::parameters;
use crate::model::{ClassModel, ParametersReference};
use crate::problem::{Problem, Problems};
use crate::status::{Condition, Feature, GatewayClassStatus};
use crate::view::View;

/// Name of the class that is ours without an object, in a folder.
pub(crate) const DEFAULT_CLASS: &str = "sluice";

/// Newest minor version of release 1 of the Gateway API whose fields we know.
const NEWEST_MINOR: u32 = 6;

/// What a Gateway's class says.
#[derive(Debug)]
pub(crate) enum Verdict<'a> {
    /// Ours.
    Ours {
        /// `parametersRef` of the class.
        parameters: Option<&'a ParametersReference>,
        /// Whether the class has no object.
        is_implied: bool,
    },
    /// Another controller's, or none; why.
    Foreign(String),
}

/// Judges the class of a Gateway.
pub(crate) fn verdict<'a>(view: &View<'a>, name: &str) -> Verdict<'a> {
    match view.class(name) {
        Some(class) if class.controller_name == view.options().controller_name => {
            Verdict::Ours { parameters: class.parameters.as_ref(), is_implied: false }
        }
        Some(class) => Verdict::Foreign(format!(
            "GatewayClass {name:?} belongs to controller {:?}; the Gateway is left alone",
            class.controller_name
        )),
        None if view.options().standalone && name == DEFAULT_CLASS => {
            Verdict::Ours { parameters: None, is_implied: true }
        }
        None => Verdict::Foreign(format!("GatewayClass {name:?} not found; the Gateway is left alone")),
    }
}

/// Status and problems of a class; no status for other controllers' classes.
pub(crate) fn status(view: &View<'_>, class: &ClassModel) -> (Option<GatewayClassStatus>, Vec<Problem>) {
    if class.controller_name != view.options().controller_name {
        return (None, Vec::new());
    }
    let generation = class.meta.generation;
    let mut problems = Problems::of(&class.meta.reference);
    let accepted = match class.parameters.as_ref().map(|it| parameters::find(view, it, None)) {
        None | Some(Ok(_)) => Condition::yes("Accepted", "Accepted", generation),
        Some(Err(failure)) => {
            problems.error("spec.parametersRef", failure.message.clone(), failure.next_step);
            Condition::no("Accepted", "InvalidParameters", failure.message, generation)
        }
    };
    let status = GatewayClassStatus {
        conditions: vec![accepted, supported_version(view.release(), generation)],
        supported_features: FEATURES.iter().map(|name| Feature { name }).collect(),
    };
    (Some(status), problems.into_list())
}

/// Whether the CRDs are of a release whose fields we know. A newer one is served as well as can be.
fn supported_version(release: Option<&str>, generation: Option<i64>) -> Condition {
    let is_known = release.is_none_or(|it| {
        let mut numbers = it.trim_start_matches('v').split('.');
        let mut number = || numbers.next().and_then(|it| it.parse::<u32>().ok());
        number() == Some(1) && number().is_some_and(|minor| minor <= NEWEST_MINOR)
    });
    if is_known {
        return Condition::yes("SupportedVersion", "SupportedVersion", generation);
    }
    let message = format!(
        "the CRDs of the Gateway API are of release {}; known are v1.0 to v1.{NEWEST_MINOR}, later fields are not read",
        release.unwrap_or_default()
    );
    Condition::no("SupportedVersion", "UnsupportedVersion", message, generation)
}
