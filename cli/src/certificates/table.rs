//! The table for people.

use sluice_controller::acme::Row;
use std::fmt::Write as _;

const HEAD: [&str; 6] = ["SECRET", "NAMES", "ISSUER", "ENDS", "NEXT", "STATE"];
/// Names that are shown of one certificate.
const MOST_NAMES: usize = 3;

/// The rows, each column as wide as it must be; what is wrong stands on a line below.
pub(super) fn render(rows: &[Row], now_s: u64) -> String {
    if rows.is_empty() {
        return "no certificate is kept by an issuer\n".to_owned();
    }
    let cells: Vec<[String; 6]> = rows.iter().map(|row| cells(row, now_s)).collect();
    let mut widths = HEAD.map(str::len);
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = line(&HEAD.map(str::to_owned), &widths);
    for (row, cells) in rows.iter().zip(&cells) {
        text.push_str(&line(cells, &widths));
        if !row.message.is_empty() {
            let _ = writeln!(text, "  {}", row.message);
        }
    }
    text
}

fn cells(row: &Row, now_s: u64) -> [String; 6] {
    let more = row.names.len().saturating_sub(MOST_NAMES);
    let mut names = row.names.iter().take(MOST_NAMES).cloned().collect::<Vec<_>>().join(",");
    if more > 0 {
        let _ = write!(names, " and {more} more");
    }
    let time = |it: Option<u64>| it.map_or("-".to_owned(), |it| distance(it, now_s));
    let (ends, next) = (time(row.not_after_s), time(row.next_s));
    [row.secret.clone(), names, row.issuer.clone(), ends, next, row.state.clone()]
}

fn line(cells: &[String; 6], widths: &[usize; 6]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let _ = write!(text, "{cell:<width$}  ");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// How far a time is away: `in 59d`, `in 3h`, `20m ago`.
fn distance(time_s: u64, now_s: u64) -> String {
    let length = match time_s.abs_diff(now_s) {
        seconds @ 0..=119 => format!("{seconds}s"),
        seconds @ 120..=7_199 => format!("{}m", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    };
    if time_s >= now_s { format!("in {length}") } else { format!("{length} ago") }
}

#[cfg(test)]
mod tests {
    use super::render;
    use sluice_controller::acme::Row;

    #[test]
    fn what_is_wrong_stands_below_its_certificate() {
        let row = |secret: &str, not_after_s: Option<u64>, state: &str, message: &str| Row {
            secret: secret.to_owned(),
            issuer: "edge/ca".to_owned(),
            names: vec!["a.example".to_owned()],
            not_after_s,
            next_s: Some(10_000),
            state: state.to_owned(),
            message: message.to_owned(),
        };
        let rows = [
            row("edge/a", Some(10 * 86_400), "Valid", ""),
            row("edge/b", None, "DNS", "a.example has no address"),
        ];
        let shown = render(&rows, 0);
        assert_eq!(
            shown,
            "SECRET  NAMES      ISSUER   ENDS    NEXT   STATE\n\
             edge/a  a.example  edge/ca  in 10d  in 2h  Valid\n\
             edge/b  a.example  edge/ca  -       in 2h  DNS\n  a.example has no address\n"
        );
        assert_eq!(render(&[], 0), "no certificate is kept by an issuer\n");
    }
}
