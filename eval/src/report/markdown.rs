//! A report as Markdown.

use super::{BdRates, Report, Row, SequenceReport, percent};
use crate::accuracy::{NAMES, Thresholds, Truth};
use std::fmt::Write;

/// The whole report.
pub fn report(report: &Report, picture: Option<&str>) -> String {
    let mut text = format!("# {}\n\n", report.title);
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(text, "Command: `{}`  ", report.command);
    let _ = writeln!(text, "Network: {}  ", report.network);
    let Thresholds { high, low } = report.tracker;
    let _ = writeln!(text, "Tracker: boxes of score {high} and above begin tracks, of {low} and above go on them  ");
    let _ = writeln!(text, "Data: {}  ", report.sequences.iter().map(data).collect::<Vec<_>>().join("; "));
    let _ = writeln!(text, "Machine: {}  ", report.machine);
    let _ = writeln!(text, "Commit: {}\n", report.commit);
    let _ = writeln!(
        text,
        "Rates count everything that is sent. Accuracy is that of persons against {}. Times are milliseconds a \
         frame between features (remote chains: pictures) and bytes, the network not counted, with {} chains running at once. \
         [Evaluation](../evaluation.md) says what the chains and measures are.\n",
        match report.truth {
            Truth::Annotated => "the sequence's ground truth",
            Truth::Uncompressed => "what is tracked in the uncompressed features",
        },
        report.workers
    );
    if let Some(picture) = picture {
        let _ = writeln!(text, "![Accuracy at each rate]({picture})\n");
    }
    for sequence in &report.sequences {
        section(&mut text, sequence);
    }
    text
}

fn data(s: &SequenceReport) -> String {
    let rate = s.frames_per_second.map_or_else(String::new, |r| format!(" at {r} frames/s"));
    format!("{}, {} frames{rate}, {} persons", s.name, s.frames, s.persons)
}

fn section(text: &mut String, sequence: &SequenceReport) {
    let _ = writeln!(text, "## {}\n", sequence.name);
    if !sequence.layers.is_empty() {
        let _ = writeln!(text, "Features: {}. Transform: {}.\n", sequence.layers.join(", "), sequence.transform);
    }
    let _ = writeln!(text, "| chain | setting | kbit/s | {} | encode ms | decode ms |", NAMES.join(" | "));
    let _ = writeln!(text, "|---|---|---{}|---|---|", "|---".repeat(NAMES.len()));
    for row in &sequence.rows {
        line(text, row);
    }
    text.push('\n');
    for table in sequence.bd_rates.iter().filter(|t| !t.rows.is_empty()) {
        bd_rates(text, table);
    }
}

fn line(text: &mut String, row: &Row) {
    let accuracy = row.accuracy.values().map(|v| v.map_or_else(|| "–".into(), |v| format!("{v:.3}"))).join(" | ");
    let time = |t: f64| if t > 0.0 { format!("{t:.1}") } else { String::new() };
    let rate = if row.kbit_s < 10_000.0 { format!("{:.1}", row.kbit_s) } else { format!("{:.0}", row.kbit_s) };
    let (encode, decode) = (time(row.encode_ms), time(row.decode_ms));
    let _ = writeln!(text, "| {} | {} | {rate} | {accuracy} | {encode} | {decode} |", row.chain, row.setting);
}

fn bd_rates(text: &mut String, table: &BdRates) {
    let _ = writeln!(
        text,
        "BD-rate against `{}` (rate for the same accuracy, negative = saved; over the accuracies that both reach):\n",
        table.reference
    );
    let _ = writeln!(text, "| chain | {} |\n|---{}|", NAMES.join(" | "), "|---".repeat(NAMES.len()));
    for row in &table.rows {
        let _ = writeln!(text, "| {} | {} |", row.chain, row.rates.map(percent).join(" | "));
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use crate::report::tests::report;

    #[test]
    fn tables_hold_the_rows_and_the_rates() {
        let text = report().markdown(Some("r.png"));
        assert!(text.starts_with("# Test\n\nCommand: `fcm-eval run walk`  \n"), "{text}");
        assert!(
            text.contains("| fcm-none | qp 26 | 800.0 | 0.800 | 0.400 | 0.600 | – | 0.800 | 3.0 | 1.0 |"),
            "{text}"
        );
        assert!(text.contains("| fcm-z-score | -50.0 % | -50.0 % | -50.0 % | – | -50.0 % |"), "{text}");
        assert!(text.contains("walk, slow, 96 frames at 25 frames/s, 700 persons"), "{text}");
        assert!(text.contains("![Accuracy at each rate](r.png)"));
        assert!(!report().markdown(None).contains("!["));
    }

    #[test]
    fn every_row_of_a_table_has_as_many_cells_as_its_head() {
        let text = report().markdown(None);
        let mut cells = None;
        for line in text.lines() {
            let count = line.starts_with('|').then(|| line.matches('|').count());
            if count.is_some() && cells.is_some() {
                assert_eq!(count, cells, "{line}");
            }
            cells = count;
        }
    }
}
