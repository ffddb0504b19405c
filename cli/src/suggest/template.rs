//! From paths to templates: segments that name one thing of many become `{*}`, by what they look like and by how many there
//! are.

use sluice_proxy::telemetry::seen::path::{ONE, segments};
use std::collections::{BTreeMap, BTreeSet};

/// The templates of some paths, by path. First what looks like an identifier is generalised; then segments that differ where all
/// else is the same, when there are more than `most`.
pub(super) fn of<'a>(paths: impl IntoIterator<Item = &'a str>, most: usize) -> BTreeMap<&'a str, String> {
    let mut templates: BTreeMap<&str, Vec<String>> =
        paths.into_iter().map(|it| (it, segments(it).map(str::to_owned).collect())).collect();
    let longest = templates.values().map(Vec::len).max().unwrap_or_default();
    for position in 0..longest {
        // By everything but the segment at this place.
        let mut alike: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
        for segments in templates.values() {
            if let Some(segment) = segments.get(position) {
                alike.entry(without(segments, position)).or_default().insert(segment.clone());
            }
        }
        for segments in templates.values_mut().filter(|it| position < it.len()) {
            let is_many = alike.get(&without(segments, position)).is_some_and(|it| it.len() > most);
            if let Some(segment) = segments.get_mut(position).filter(|it| is_many && !it.is_empty()) {
                ONE.clone_into(segment);
            }
        }
    }
    templates.into_iter().map(|(path, segments)| (path, format!("/{}", segments.join("/")))).collect()
}

fn without(segments: &[String], position: usize) -> Vec<String> {
    let mut key = segments.to_vec();
    if let Some(segment) = key.get_mut(position) {
        "*".clone_into(segment);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn what_differs_too_often_in_one_place_is_one_thing_of_many() {
        let names: Vec<String> =
            (0..12).map(|it| format!("/users/name{}/cart", char::from(b'a' + it))).collect();
        let all = of(names.iter().map(String::as_str).chain(["/users/me", "/orders/7/items/8", "/"]), 10);
        assert_eq!(all["/users/namea/cart"], "/users/{*}/cart");
        assert_eq!(all["/users/me"], "/users/me");
        assert_eq!(all["/orders/7/items/8"], "/orders/{*}/items/{*}");
        assert_eq!(all["/"], "/");
        let few = of(names.iter().take(10).map(String::as_str), 10);
        assert_eq!(few["/users/namea/cart"], "/users/namea/cart");
    }
}
