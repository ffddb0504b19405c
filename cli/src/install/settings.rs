//! What an installation can be told: one table of keys, through which profiles, `--set` and the chart's values all go.
//!
//! A key has a name as in the chart's `values.yaml`, a type that is checked at the door, and a line of help. Nothing
//! here knows manifests; [`super::manifests`] does not check again.

use super::values::{self, Type};
use sluice_crds::closest;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use thiserror::Error;

/// Namespace of the controller when nothing else is said.
pub const NAMESPACE: &str = "sluice-system";

/// Sets all images at once: `REGISTRY/sluice-controller:VERSION` and so on. Not a value of the chart.
const REGISTRY: &str = "registry";

/// One thing that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Image of the controller.
    ControllerImage,
    /// Replicas of the controller.
    Replicas,
    /// Whether a PodDisruptionBudget is made.
    PodDisruptionBudget,
    /// CPU request.
    CpuRequest,
    /// Memory request.
    MemoryRequest,
    /// CPU limit, none by default.
    CpuLimit,
    /// Memory limit.
    MemoryLimit,
    /// Log filter.
    Log,
    /// Log format.
    LogFormat,
    /// Address that the controller listens on.
    Bind,
    /// `GatewayClass.spec.controllerName`.
    ControllerName,
    /// Istio's root namespace.
    RootNamespace,
    /// Domain of the cluster.
    ClusterDomain,
    /// Name of the GatewayClass.
    GatewayClass,
    /// Image of gateways.
    GatewayImage,
    /// Replicas of gateways.
    GatewayReplicas,
    /// Type of gateways' Services.
    ServiceType,
    /// Whether pods can get sidecars.
    Injection,
    /// Value of `istio.io/rev` that means this installation.
    Revision,
    /// Image of sidecars.
    SidecarImage,
    /// Pull policy.
    ImagePullPolicy,
    /// Secret of the registry, none by default.
    ImagePullSecret,
    /// Whether the demo is installed.
    Demo,
    /// Image of the demo's backend.
    DemoImage,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Dotted name, as in the chart's values.
    pub name: &'static str,
    /// What values it takes.
    pub r#type: Type,
    /// The value of the profile `default`.
    pub default: &'static str,
    /// One line for people.
    pub help: &'static str,
}

impl Key {
    /// Every key, in the order in which it is shown.
    pub const ALL: [Self; 24] = [
        Self::ControllerImage,
        Self::Replicas,
        Self::PodDisruptionBudget,
        Self::CpuRequest,
        Self::MemoryRequest,
        Self::CpuLimit,
        Self::MemoryLimit,
        Self::Log,
        Self::LogFormat,
        Self::Bind,
        Self::ControllerName,
        Self::RootNamespace,
        Self::ClusterDomain,
        Self::GatewayClass,
        Self::GatewayImage,
        Self::GatewayReplicas,
        Self::ServiceType,
        Self::Injection,
        Self::Revision,
        Self::SidecarImage,
        Self::ImagePullPolicy,
        Self::ImagePullSecret,
        Self::Demo,
        Self::DemoImage,
    ];

    /// Name, type, default and help: the one place where a setting is described.
    pub fn facts(self) -> Facts {
        let facts = |name, r#type, default, help| Facts { name, r#type, default, help };
        match self {
            Self::ControllerImage => facts(
                "controller.image",
                Type::Image,
                concat!("sluice-controller:", env!("CARGO_PKG_VERSION")),
                "image of the controller",
            ),
            Self::Replicas => facts(
                "controller.replicas",
                Type::Count { least: 1, most: 9 },
                "2",
                "replicas of the controller; each serves gateways, one writes",
            ),
            Self::PodDisruptionBudget => facts(
                "controller.podDisruptionBudget",
                Type::Bool,
                "true",
                "whether the drain of nodes takes one replica at a time",
            ),
            Self::CpuRequest => facts(
                "controller.resources.requests.cpu",
                Type::Quantity,
                "50m",
                "CPU that a replica is sure of",
            ),
            Self::MemoryRequest => facts(
                "controller.resources.requests.memory",
                Type::Quantity,
                "64Mi",
                "memory that a replica is sure of",
            ),
            Self::CpuLimit => facts(
                "controller.resources.limits.cpu",
                Type::OptionalQuantity,
                "",
                "CPU above which a replica is slowed; empty for none",
            ),
            Self::MemoryLimit => facts(
                "controller.resources.limits.memory",
                Type::Quantity,
                "512Mi",
                "memory above which a replica is ended and started again",
            ),
            Self::Log => facts(
                "controller.log",
                Type::Filter,
                "info",
                "what is logged, for example info or sluice_controller=debug,warn",
            ),
            Self::LogFormat => {
                facts("controller.logFormat", Type::Choice(&["json", "text"]), "json", "form of the log")
            }
            Self::Bind => facts(
                "controller.bind",
                Type::Choice(&["[::]", "0.0.0.0"]),
                "[::]",
                "address that the controller listens on; 0.0.0.0 on nodes whose kernel has no IPv6",
            ),
            Self::ControllerName => facts(
                "controllerName",
                Type::ControllerName,
                "sluice.dev/gateway-controller",
                "name by which a GatewayClass chooses this controller",
            ),
            Self::RootNamespace => facts(
                "mesh.rootNamespace",
                Type::Name,
                "istio-system",
                "namespace whose exported DestinationRules hold where no others do",
            ),
            Self::ClusterDomain => facts(
                "mesh.clusterDomain",
                Type::Name,
                "cluster.local",
                "domain of the cluster, in which names of Services end",
            ),
            Self::GatewayClass => {
                facts("gatewayClass", Type::Name, "sluice", "name of the GatewayClass that is made")
            }
            Self::GatewayImage => facts(
                "gateway.image",
                Type::Image,
                concat!("sluice-gateway:", env!("CARGO_PKG_VERSION")),
                "image of the gateways that the controller makes",
            ),
            Self::GatewayReplicas => facts(
                "gateway.replicas",
                Type::Count { least: 1, most: 1_000 },
                "2",
                "replicas of a gateway whose own parameters say nothing",
            ),
            Self::ServiceType => facts(
                "gateway.serviceType",
                Type::Choice(&["LoadBalancer", "NodePort", "ClusterIP"]),
                "LoadBalancer",
                "who reaches a gateway whose own parameters say nothing",
            ),
            Self::Injection => facts(
                "injection.enabled",
                Type::Bool,
                "true",
                "whether the API server asks about new pods of namespaces with istio-injection=enabled and the like",
            ),
            Self::Revision => facts(
                "injection.revision",
                Type::Name,
                "default",
                "value of the label istio.io/rev by which pods and namespaces choose this controller",
            ),
            Self::SidecarImage => facts(
                "sidecar.image",
                Type::Image,
                concat!("sluice-sidecar:", env!("CARGO_PKG_VERSION")),
                "image of the sidecars that pods get",
            ),
            Self::ImagePullPolicy => facts(
                "imagePullPolicy",
                Type::Choice(&["IfNotPresent", "Always", "Never"]),
                "IfNotPresent",
                "when nodes fetch the images of controller, sidecars and demo",
            ),
            Self::ImagePullSecret => facts(
                "imagePullSecret",
                Type::OptionalName,
                "",
                "Secret with the credentials of the controller's image registry, in its namespace; empty for none",
            ),
            Self::Demo => facts(
                "demo.enabled",
                Type::Bool,
                "false",
                "whether to make the namespace sluice-demo with a Gateway, a route and a backend",
            ),
            Self::DemoImage => facts(
                "demo.image",
                Type::Image,
                concat!("sluice:", env!("CARGO_PKG_VERSION")),
                "image of the demo's backend",
            ),
        }
    }

    /// Dotted name.
    pub fn name(self) -> &'static str {
        self.facts().name
    }
}

/// An installation's settings. [`Settings::default`] is the profile `default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Namespace of the controller.
    pub namespace: String,
    /// What differs from the defaults.
    values: BTreeMap<Key, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { namespace: NAMESPACE.to_owned(), values: BTreeMap::new() }
    }
}

/// Why a setting is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SettingError {
    /// Not `KEY=VALUE`.
    #[error("{0:?} is not KEY=VALUE, for example controller.replicas=3")]
    NotAnAssignment(String),
    /// No such key.
    #[error("there is no setting {key:?}{}; sluice install --help lists them", suggestion(.key))]
    Unknown {
        /// What was asked for.
        key: String,
    },
    /// The value does not suit.
    #[error("{key}: {value:?} is not {wanted}")]
    Value {
        /// The key.
        key: &'static str,
        /// What was said.
        value: String,
        /// What it takes.
        wanted: String,
    },
}

fn suggestion(key: &str) -> String {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let names = || Key::ALL.into_iter().map(Key::name).chain([REGISTRY]);
    let close = closest(key, names()).or_else(|| {
        // Often the last word alone is known: `replicas`.
        let word = last(key);
        names().find(|name| last(name).eq_ignore_ascii_case(&word))
    });
    close.map(|name| format!(", did you mean {name:?}?")).unwrap_or_default()
}

impl Settings {
    /// The value of a key, as text.
    pub fn get(&self, key: Key) -> &str {
        self.values.get(&key).map_or(key.facts().default, String::as_str)
    }

    /// Whether a truth value holds.
    pub fn holds(&self, key: Key) -> bool {
        self.get(key) == "true"
    }

    /// Applies `KEY=VALUE`.
    pub fn assign(&mut self, assignment: &str) -> Result<(), SettingError> {
        let (key, value) =
            assignment.split_once('=').ok_or_else(|| SettingError::NotAnAssignment(assignment.to_owned()))?;
        self.set(key.trim(), value.trim())
    }

    /// Sets one key by its name. On an error nothing changes.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        if name == REGISTRY {
            return self.set_registry(value);
        }
        let unknown = || SettingError::Unknown { key: name.to_owned() };
        let key = Key::ALL.into_iter().find(|it| it.name() == name).ok_or_else(unknown)?;
        let r#type = key.facts().r#type;
        if !values::is_valid(r#type, value) {
            let wanted = r#type.to_string();
            return Err(SettingError::Value { key: key.name(), value: value.to_owned(), wanted });
        }
        self.put(key, value);
        Ok(())
    }

    /// Puts text in place of a value without looking at it: how the chart's placeholders get into the manifests.
    pub fn put(&mut self, key: Key, text: &str) {
        if text == key.facts().default {
            self.values.remove(&key);
        } else {
            self.values.insert(key, text.to_owned());
        }
    }

    fn set_registry(&mut self, registry: &str) -> Result<(), SettingError> {
        let registry = registry.trim_end_matches('/');
        if !values::is_valid(Type::Image, registry) {
            let wanted = "the address of an image registry, for example registry.example.com/team".to_owned();
            return Err(SettingError::Value { key: REGISTRY, value: registry.to_owned(), wanted });
        }
        for key in [Key::ControllerImage, Key::GatewayImage, Key::SidecarImage, Key::DemoImage] {
            self.put(key, &format!("{registry}/{}", key.facts().default));
        }
        Ok(())
    }
}

/// The list of keys for `--help`.
pub fn help() -> String {
    let mut text = format!(
        "  {REGISTRY}=ADDRESS\n      registry of all images: ADDRESS/{} and so on\n",
        Key::ControllerImage.facts().default
    );
    for key in Key::ALL {
        let Facts { name, r#type, default, help } = key.facts();
        let default = if default.is_empty() { String::new() } else { format!(" [default: {default}]") };
        let _ = writeln!(text, "  {name}={}\n      {help}{default}", r#type.word());
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{Key, SettingError, Settings};

    #[test]
    fn a_key_that_is_not_there_names_the_one_that_was_meant() {
        let mut settings = Settings::default();
        let told = |error: SettingError| error.to_string();
        let error = told(settings.assign("controller.replica=3").unwrap_err());
        assert!(error.contains("did you mean \"controller.replicas\"?"), "{error}");
        let error = told(settings.assign("replicas=3").unwrap_err());
        assert!(error.contains("did you mean \"controller.replicas\"?"), "{error}");
        let error = told(settings.assign("entirely.different=3").unwrap_err());
        assert!(!error.contains("did you mean"), "{error}");
        assert!(told(settings.assign("controller.replicas").unwrap_err()).contains("KEY=VALUE"));
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn a_value_of_the_wrong_type_says_what_is_wanted_and_changes_nothing() {
        let mut settings = Settings::default();
        for (wrong, wanted) in [
            ("controller.replicas=0", "a whole number from 1 to 9"),
            ("controller.replicas=two", "a whole number from 1 to 9"),
            ("controller.podDisruptionBudget=yes", "true or false"),
            ("controller.resources.limits.memory=much", "an amount"),
            ("controller.resources.limits.memory=", "an amount"),
            ("controller.logFormat=xml", "json or text"),
            ("controllerName=sluice", "DOMAIN/PATH"),
            ("gatewayClass=Sluice_1", "a DNS name"),
            ("controller.image=a b", "an image"),
            ("controller.image=x\"\n- y", "an image"),
            ("registry=http://x", "registry"),
        ] {
            let error = settings.assign(wrong).expect_err(wrong).to_string();
            assert!(error.contains(wanted), "{wrong}: {error}");
        }
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn every_default_is_a_value_that_its_key_takes() {
        let mut settings = Settings::default();
        for key in Key::ALL {
            assert_eq!(settings.set(key.name(), key.facts().default), Ok(()));
        }
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn a_registry_names_all_images() {
        let mut settings = Settings::default();
        settings.assign("registry=registry.example.com:5000/team/").unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            [Key::ControllerImage, Key::GatewayImage, Key::SidecarImage, Key::DemoImage]
                .map(|key| settings.get(key)),
            [
                format!("registry.example.com:5000/team/sluice-controller:{version}").as_str(),
                format!("registry.example.com:5000/team/sluice-gateway:{version}").as_str(),
                format!("registry.example.com:5000/team/sluice-sidecar:{version}").as_str(),
                format!("registry.example.com:5000/team/sluice:{version}").as_str(),
            ]
        );
    }
}
