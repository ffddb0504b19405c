//! Counts the instructions of one round of a case: the bench runs itself under callgrind with two numbers of rounds and
//! takes the difference, so that start-up and set-up fall out. The time beside it is for orientation only.

use std::process::Command;
use std::time::Instant;

const FEW: u64 = 1_000;
const MANY: u64 = 21_000;

/// A name, and what runs so many rounds.
pub(crate) type Case = (&'static str, fn(u64));

/// Prints instructions and time of each case, in their order, and gives the instructions.
pub(crate) fn count(cases: &[Case]) -> Vec<f64> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, case, rounds] = arguments.as_slice()
        && mode == "case"
    {
        let (_, run) = cases.iter().find(|(name, _)| name == case).expect("a known case");
        run(rounds.parse().unwrap());
        std::process::exit(0);
    }
    println!("{:<28} {:>14} {:>10}", "case", "instructions", "ns");
    let mut counts = Vec::new();
    for (name, run) in cases {
        let per_round = (instructions(name, MANY) - instructions(name, FEW)) as f64 / (MANY - FEW) as f64;
        let started = Instant::now();
        run(MANY);
        let ns = started.elapsed().as_nanos() as f64 / MANY as f64;
        println!("{name:<28} {per_round:>14.1} {ns:>10.1}");
        counts.push(per_round);
    }
    counts
}

/// Instructions of this program running one case.
fn instructions(case: &str, rounds: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["case", case, &rounds.to_string()])
        .output()
        .expect("valgrind runs; install it to count instructions");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let collected = text.lines().find_map(|line| line.split_once("Collected :")).expect("a count");
    collected.1.trim().parse().unwrap()
}
