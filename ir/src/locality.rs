//! Places: where data planes and endpoints run, and which places come first.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Label of a region (Kubernetes, well-known labels).
pub const REGION_LABEL: &str = "topology.kubernetes.io/region";
/// Label of a zone (Kubernetes, well-known labels).
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
/// Label of a part of a zone (Istio).
pub const SUBZONE_LABEL: &str = "topology.istio.io/subzone";

/// A place: `REGION/ZONE/SUBZONE`. A part that is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Locality {
    /// The widest part.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// A part of the region.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// A part of the zone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subzone: String,
}

impl Locality {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.parts().into_iter().all(str::is_empty)
    }

    /// The value of one of the labels that places have; `None`: another label.
    pub fn label(&self, name: &str) -> Option<&str> {
        match name {
            REGION_LABEL => Some(&self.region),
            ZONE_LABEL => Some(&self.zone),
            SUBZONE_LABEL => Some(&self.subzone),
            _ => None,
        }
    }

    fn parts(&self) -> [&str; 3] {
        [&self.region, &self.zone, &self.subzone]
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.parts().join("/").trim_end_matches('/'))
    }
}

/// What is no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotALocality(String);

impl fmt::Display for NotALocality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no place; write REGION/ZONE/SUBZONE, REGION/ZONE or REGION", self.0)
    }
}

impl std::error::Error for NotALocality {}

impl FromStr for Locality {
    type Err = NotALocality;

    /// `REGION/ZONE/SUBZONE`; later parts may be left out, the region may not.
    fn from_str(text: &str) -> Result<Self, NotALocality> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_place = parts.len() <= 3 && parts.iter().all(|it| is_name(it));
        let (Some(region), true) = (parts.first(), is_place) else {
            return Err(NotALocality(text.to_owned()));
        };
        let part = |at: usize| parts.get(at).map(|it| (*it).to_owned()).unwrap_or_default();
        Ok(Self { region: (*region).to_owned(), zone: part(1), subzone: part(2) })
    }
}

/// What a part of a place may be: short text without blanks, wildcards and what ends a part.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(|it| it.is_ascii_graphic() && it != b'*' && it != b'/')
}

/// Where an endpoint is, and what else tells how near it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Topology {
    /// Its place.
    #[serde(skip_serializing_if = "Locality::is_empty")]
    pub locality: Locality,
    /// Its own labels; those of its place are not among them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Topology {
    /// The value of a label, of the place or its own.
    pub fn label(&self, name: &str) -> Option<&str> {
        let of_place = self.locality.label(name).filter(|it| !it.is_empty());
        of_place.or_else(|| self.labels.get(name).map(String::as_str))
    }
}

/// Places that begin alike: `eu`, `eu/west`. The one without parts stands for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LocalityPattern(pub Vec<String>);

impl LocalityPattern {
    /// Whether a place is one of them.
    pub fn matches(&self, locality: &Locality) -> bool {
        self.0.iter().zip(locality.parts()).all(|(wanted, part)| wanted == part)
    }
}

impl fmt::Display for LocalityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            0 => f.write_str("*"),
            3 => f.write_str(&self.0.join("/")),
            _ => write!(f, "{}/*", self.0.join("/")),
        }
    }
}

impl FromStr for LocalityPattern {
    type Err = NotALocality;

    /// `REGION/ZONE/SUBZONE`, where a part that is `*`, and all after it, may be anything.
    fn from_str(text: &str) -> Result<Self, NotALocality> {
        let parts: Vec<&str> = text.split('/').collect();
        let known: Vec<&str> = parts.iter().copied().take_while(|it| *it != "*").collect();
        let rest = parts.get(known.len()..).unwrap_or_default();
        let is_pattern =
            parts.len() <= 3 && known.iter().all(|it| is_name(it)) && rest.iter().all(|it| *it == "*");
        if !is_pattern {
            return Err(NotALocality(text.to_owned()));
        }
        Ok(Self(known.into_iter().map(str::to_owned).collect()))
    }
}

/// Which places come first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LocalityPolicy {
    /// Near ones first; those further away when too few are healthy.
    Failover(Failover),
    /// Shares for the places of the clients. The first entry that a data plane's own place matches counts; without one
    /// all endpoints are alike.
    Distribute(Vec<Distribution>),
}

/// How near an endpoint is. Without labels: the same sub-zone, zone, region, or none of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failover {
    /// The nearest has all of these; each that is missing, and all after it, makes it one step further.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<WantedLabel>,
    /// Which region comes first for whom no endpoint of the own region is left.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub regions: BTreeMap<String, String>,
}

/// A label of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedLabel {
    /// Its name.
    pub name: String,
    /// Its value; `None`: that of the data plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Shares of what comes from one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// Places of data planes.
    pub from: LocalityPattern,
    /// Percent by place of the endpoints, together 100. Other places get nothing.
    pub to: Vec<(LocalityPattern, u8)>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::{Locality, LocalityPattern};

    #[test]
    fn a_place_has_up_to_three_parts_and_begins_with_a_region() {
        for text in ["eu", "eu/west-1", "eu/west-1/rack_7"] {
            assert_eq!(text.parse::<Locality>().unwrap().to_string(), text);
        }
        for text in ["", "/a", "eu//x", "eu/", "a/b/c/d", "eu/*", "e u", "*"] {
            assert!(text.parse::<Locality>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_pattern_ends_in_what_may_be_anything() {
        let place: Locality = "eu/west/a".parse().unwrap();
        for text in ["*", "eu", "eu/*", "eu/*/*", "eu/west", "eu/west/*", "eu/west/a"] {
            assert!(text.parse::<LocalityPattern>().unwrap().matches(&place), "{text}");
        }
        for text in ["us/*", "eu/east", "eu/west/b"] {
            assert!(!text.parse::<LocalityPattern>().unwrap().matches(&place), "{text}");
        }
        for text in ["", "*/west", "eu/*/a", "a/b/c/d", "eu*"] {
            assert!(text.parse::<LocalityPattern>().is_err(), "{text:?}");
        }
        let shown = |text: &str| text.parse::<LocalityPattern>().unwrap().to_string();
        assert_eq!([shown("*"), shown("eu"), shown("eu/*/*")], ["*", "eu/*", "eu/*"]);
    }

    #[test]
    fn what_is_not_known_of_an_endpoint_matches_only_what_may_be_anything() {
        let place: Locality = "eu".parse().unwrap();
        assert!("eu/*".parse::<LocalityPattern>().unwrap().matches(&place));
        assert!(!"eu/west".parse::<LocalityPattern>().unwrap().matches(&place));
    }
}
