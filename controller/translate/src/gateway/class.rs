//! GatewayClass: which Gateways are ours, and the status of a class that is.

use super::features::FEATURES;
use super::parameters;
use crate::model::{ClassModel, ParametersReference};
use crate::problem::{Problem, Problems};
use crate::status::{Condition, Feature, GatewayClassStatus};
use crate::view::View;

/// Name of the class that is ours without an object, in a folder.
pub(crate) const DEFAULT_CLASS: &str = "sluice";

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
        conditions: vec![accepted, Condition::yes("SupportedVersion", "SupportedVersion", generation)],
        supported_features: FEATURES.iter().map(|name| Feature { name }).collect(),
    };
    (Some(status), problems.into_list())
}
