//! The inputs of the fuzz targets, and some noise, run as plain tests.

#[path = "../../../tests/fuzz/checks/client_hello.rs"]
mod client_hello;
#[path = "../../../tests/fuzz/checks/proxy_header.rs"]
mod proxy_header;
#[path = "../../../tests/fuzz/checks/request_head.rs"]
mod request_head;

use std::fs;
use std::path::Path;

/// Checks every input, and every input with one byte changed to what breaks parsers most often.
fn run(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let mut ran = 0;
    for file in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let file = file.unwrap().path();
        println!("{}", file.display());
        let input = fs::read(&file).unwrap();
        check(&input);
        for at in 0..input.len() {
            for byte in *b"\0\t\n\r \",:;{\x7f\x80\xffA0" {
                let mut changed = input.clone();
                changed[at] = byte;
                check(&changed);
            }
            check(&[&input[..at], &input[at + 1..]].concat());
        }
        ran += 1;
    }
    assert!(ran > 0, "{} holds no input", folder.display());
}

#[test]
fn every_head_of_the_corpus_is_refused_or_reads_the_same_to_a_second_parser() {
    run("request_head", request_head::check);
}

#[test]
fn every_proxy_header_of_the_corpus_says_where_it_ends() {
    run("proxy_header", proxy_header::check);
}

#[test]
fn every_client_hello_of_the_corpus_names_a_server_in_one_spelling() {
    run("client_hello", client_hello::check);
}
