//! What the table may cost: no allocation per search, at most 1 KiB per simple route, edits that share the rest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../benches/tables/mod.rs"]
mod tables;

mod support;

use allocation_counter::measure;
use sluice_route::{Miss, host::host_of, path::normalize};
use support::{With, exact, grpc, prefix, regex, spec};
use tables::Shape;

const ALL: [Shape; 6] =
    [Shape::Hosts, Shape::Wildcards, Shape::Prefixes, Shape::Exacts, Shape::Regexes, Shape::Conditions];

#[test]
fn a_search_allocates_nothing() {
    for shape in ALL {
        let table = tables::table(shape, 300);
        for index in [0, 150, 299] {
            let ask = tables::ask(shape, index);
            // The first search of a thread may make room for expressions.
            assert_eq!(
                table.find(&ask.request()).map(|found| *found.target()),
                Ok(index as u64),
                "{shape:?}"
            );
            let info = measure(|| assert!(table.find(&ask.request()).is_ok()));
            assert_eq!(info.count_total, 0, "{shape:?}");
        }
        let strange = tables::ask(shape, 1_000);
        let _ = table.find(&strange.request());
        let info = measure(|| assert!(table.find(&strange.request()).is_err()));
        assert_eq!(info.count_total, 0, "{shape:?} miss");
    }
}

#[test]
fn a_search_through_every_kind_of_condition_allocates_nothing() {
    let matches = vec![
        grpc("p.S", "M").header("x-v", "2"),
        grpc("~p.*", "~N.*"),
        exact("/a/b").method("PUT"),
        prefix("/a").query("q r", "1 2").header("x-v", "1,2"),
        regex("/[a-z]+/b").query("z", "~.*"),
        prefix("/a/b/c/d/e/f"),
    ];
    let table = support::table(&[spec("HTTPRoute/n/a", &["*.example.com"], vec![matches])]);
    let asked = [
        support::ask("x.y.example.com/a/b/c?a=1&q+r=1%202").header("x-v", "1").header("x-v", "2"),
        support::ask("x.example.com/p.S/M").grpc().header("x-v", "2"),
        support::ask("x.example.com/p.S/NN").grpc(),
        support::ask("x.example.com/a/b?z=1"),
        support::ask("x.example.com/a/b/c/d/e/f/g"),
    ];
    for ask in asked {
        assert!(table.find(&ask.request()).is_ok(), "{ask:?}");
        let info = measure(|| assert!(table.find(&ask.request()).is_ok()));
        assert_eq!(info.count_total, 0, "{ask:?}");
    }
    let ask = support::ask("x.example.com/nothing?q=1");
    let info = measure(|| assert_eq!(table.find(&ask.request()).err(), Some(Miss::Rule)));
    assert_eq!(info.count_total, 0);
}

#[test]
fn a_path_and_host_in_normal_form_allocate_nothing() {
    let info = measure(|| {
        assert!(normalize("/api/v1/caf%C3%A9/.well-known").is_ok());
        assert!(host_of("shop.example.com:8443").is_ok());
    });
    assert_eq!(info.count_total, 0);
}

#[test]
fn a_simple_route_takes_at_most_one_kibibyte() {
    for shape in [Shape::Hosts, Shape::Wildcards, Shape::Prefixes, Shape::Exacts, Shape::Conditions] {
        let mut kept = None;
        let info = measure(|| kept = Some(tables::table(shape, 5_000)));
        let bytes_per_route = info.bytes_current / 5_000;
        println!("{shape:?}: {bytes_per_route} bytes per route");
        assert!(bytes_per_route <= 1_024, "{shape:?}: {bytes_per_route}");
        drop(kept);
    }
}

#[test]
fn an_expression_takes_some_kibibytes() {
    let mut kept = None;
    let info = measure(|| {
        let table = tables::table(Shape::Regexes, 300);
        for index in 0..300 {
            assert!(table.find(&tables::ask(Shape::Regexes, index).request()).is_ok());
        }
        kept = Some(table);
    });
    println!("Regexes: {} bytes per route and thread", info.bytes_current / 300);
    assert!(info.bytes_current / 300 <= 64 << 10);
    drop(kept);
}

/// Allocated bytes stand for what an edit copies: the same for ten routes and for 5,000, but for a few nodes.
#[test]
fn an_edit_copies_a_few_nodes() {
    for shape in [Shape::Hosts, Shape::Wildcards, Shape::Prefixes, Shape::Exacts] {
        let table = tables::table(shape, 5_000);
        let entry = tables::entry(shape, 2_500);
        let mut kept = None;
        let info = measure(|| kept = Some(table.with(vec![entry], &[])));
        println!("{shape:?}: an edit allocates {} bytes in {} pieces", info.bytes_total, info.count_total);
        assert!(info.bytes_total <= 16 << 10, "{shape:?}: {}", info.bytes_total);
        drop(kept);
    }
}
