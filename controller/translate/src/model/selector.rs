//! Label selectors (Kubernetes LabelSelector).

use std::collections::BTreeMap;

/// Which labels are asked for; all parts must hold, an empty selector takes everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) labels: BTreeMap<String, String>,
    /// Key, operator as written, values.
    pub(crate) expressions: Vec<(String, String, Vec<String>)>,
}

impl Selector {
    /// Whether `labels` has what is asked for. An unknown operator takes nothing.
    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.expressions.iter().all(|(key, operator, values)| {
                let found = labels.get(key);
                match operator.as_str() {
                    "In" => found.is_some_and(|it| values.contains(it)),
                    "NotIn" => found.is_none_or(|it| !values.contains(it)),
                    "Exists" => found.is_some(),
                    "DoesNotExist" => found.is_none(),
                    _ => false,
                }
            })
    }

    /// The first operator that Kubernetes does not know.
    pub(crate) fn unknown_operator(&self) -> Option<&str> {
        let known = ["In", "NotIn", "Exists", "DoesNotExist"];
        self.expressions.iter().map(|it| it.1.as_str()).find(|it| !known.contains(it))
    }
}

#[cfg(test)]
mod tests {
    use super::Selector;
    use std::collections::BTreeMap;

    #[test]
    fn every_operator_is_judged_and_an_unknown_one_takes_nothing() {
        let labels = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
        let with = |operator: &str, key: &str| Selector {
            labels: BTreeMap::new(),
            expressions: vec![(key.to_owned(), operator.to_owned(), vec!["shop".to_owned()])],
        };
        assert!(with("In", "team").matches(&labels));
        assert!(!with("In", "other").matches(&labels));
        assert!(!with("NotIn", "team").matches(&labels));
        assert!(with("NotIn", "other").matches(&labels));
        assert!(with("Exists", "team").matches(&labels));
        assert!(with("DoesNotExist", "other").matches(&labels));
        assert!(!with("Like", "team").matches(&labels));
        assert_eq!(with("Like", "team").unknown_operator(), Some("Like"));
        assert!(Selector::default().matches(&labels));
    }
}
