//! What a run found: data, and the forms it is written in.

mod markdown;
pub mod plot;

use crate::accuracy::{Accuracy, NAMES, OF_TRACKS, Thresholds, Truth};
use anyhow::{Context, Result, ensure};
use fcm_analytics::metrics::bd_rate;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::Path;

/// A whole report; its JSON form is what `fcm-eval compare` reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Heading.
    pub title: String,
    /// What was run, paths left out.
    pub command: String,
    /// Processor and system.
    pub machine: String,
    /// Commit of the sources.
    pub commit: String,
    /// The network.
    pub network: String,
    /// Which of its boxes were tracked; reports that do not say so have the tracker's defaults.
    #[serde(default)]
    pub tracker: Thresholds,
    /// What accuracy is measured against; reports that do not say so have annotated sequences.
    #[serde(default)]
    pub truth: Truth,
    /// Chains that ran at once while times were taken.
    pub workers: usize,
    /// One for each sequence, and if there are several a last one of all together.
    pub sequences: Vec<SequenceReport>,
}

/// The results of one sequence, or of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SequenceReport {
    /// Name of the sequence.
    pub name: String,
    /// Number of frames.
    pub frames: u64,
    /// Frames a second; of several sequences none.
    pub frames_per_second: Option<f64>,
    /// Boxes to be found in these frames.
    pub persons: u64,
    /// Layers of the features, `name CxHxW`.
    pub layers: Vec<String>,
    /// The transform of codecs that use one.
    pub transform: String,
    /// The results, chain after chain.
    pub rows: Vec<Row>,
    /// BD-rates against each of the references.
    pub bd_rates: Vec<BdRates>,
}

/// One chain at one setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The chain.
    pub chain: String,
    /// Its setting; empty where there is none.
    pub setting: String,
    /// Rate of everything sent.
    pub kbit_s: f64,
    /// Bytes sent.
    pub bytes: u64,
    /// How good the detections and tracks are.
    #[serde(flatten)]
    pub accuracy: Accuracy,
    /// Milliseconds a frame from features or picture to bytes.
    pub encode_ms: f64,
    /// Milliseconds a frame from bytes to features or picture.
    pub decode_ms: f64,
}

/// Rates for the same accuracy, against one reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BdRates {
    /// The chain that the others are compared with.
    pub reference: String,
    /// The others.
    pub rows: Vec<BdRow>,
}

/// One of the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BdRow {
    /// The chain.
    pub chain: String,
    /// Per cent of rate, for each of [`NAMES`]; `None` where both never reach the same accuracy.
    pub rates: [Option<f64>; 5],
}

/// The (rate, accuracy) points of a chain in one of the measures.
pub fn curve(rows: &[Row], chain: &str, measure: usize) -> Vec<(f64, f64)> {
    let point = |r: &Row| Some((r.kbit_s, r.accuracy.values()[measure]?));
    rows.iter().filter(|r| r.chain == chain).filter_map(point).collect()
}

/// The chains in `rows`, in their order.
pub fn chains(rows: &[Row]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&row.chain.as_str()) {
            names.push(&row.chain);
        }
    }
    names
}

/// BD-rate of a chain of `a` against one of `b`, for each measure.
pub fn bd_rates(a: &[Row], chain: &str, b: &[Row], reference: &str) -> [Option<f64>; 5] {
    std::array::from_fn(|measure| bd_rate(&curve(a, chain, measure), &curve(b, reference, measure)))
}

/// All chains with more than one point against each reference that is among them.
pub fn bd_tables(rows: &[Row], references: &[String]) -> Vec<BdRates> {
    let several = |chain: &str| rows.iter().filter(|r| r.chain == chain).count() > 1;
    let names: Vec<&str> = chains(rows).into_iter().filter(|c| several(c)).collect();
    let table = |reference: &String| {
        let others = names.iter().filter(|c| *c != reference);
        let rows = others.map(|c| BdRow { chain: (*c).into(), rates: bd_rates(rows, c, rows, reference) }).collect();
        BdRates { reference: reference.clone(), rows }
    };
    references.iter().filter(|r| names.contains(&r.as_str())).map(table).collect()
}

impl Report {
    /// Reads the JSON form.
    ///
    /// # Errors
    /// When the file cannot be read or is none.
    pub fn read(path: &Path) -> Result<Self> {
        let context = || format!("cannot read {}", path.display());
        let text = std::fs::read(path).with_context(context)?;
        serde_json::from_slice(&text).with_context(|| format!("{}: not a result of fcm-eval run", context()))
    }

    /// One line for each row of each sequence.
    pub fn csv(&self) -> String {
        let mut text = format!("sequence,chain,setting,kbit_s,{},encode_ms,decode_ms,bytes\n", NAMES.join(","));
        let number = |x: Option<f64>| x.map_or_else(String::new, |x| format!("{x:.5}"));
        for sequence in &self.sequences {
            for r in &sequence.rows {
                let accuracy = r.accuracy.values().map(number).join(",");
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "{},{},{},{:.3},{accuracy},{:.3},{:.3},{}",
                    field(&sequence.name),
                    field(&r.chain),
                    field(&r.setting),
                    r.kbit_s,
                    r.encode_ms,
                    r.decode_ms,
                    r.bytes
                );
            }
        }
        text
    }

    /// The Markdown form; `picture` is the name of the plot beside it, if there is one.
    pub fn markdown(&self, picture: Option<&str>) -> String {
        markdown::report(self, picture)
    }

    /// Writes `NAME.json`, `.csv`, `.md` and `.png`. Gives what kept the picture from being drawn, if something did.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, stem: &Path) -> Result<Option<anyhow::Error>> {
        let name =
            stem.file_name().and_then(|n| n.to_str()).with_context(|| format!("no file name in {}", stem.display()))?;
        let path = |extension: &str| stem.with_file_name(format!("{name}.{extension}"));
        let mut json = serde_json::to_string_pretty(self)?;
        json.push('\n');
        crate::output::write(&path("json"), json.as_bytes())?;
        crate::output::write(&path("csv"), self.csv().as_bytes())?;
        let drawn = plot::draw(&path("png"), self);
        let picture = format!("{name}.png");
        crate::output::write(&path("md"), self.markdown(drawn.is_ok().then_some(&picture)).as_bytes())?;
        Ok(drawn.err())
    }
}

/// A field of CSV, in quotes where it needs them.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// Processor and system, for the head of a report.
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned()));
    let model = model.unwrap_or_else(|| "unknown processor".into());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {threads} logical processors, {} {}", std::env::consts::OS, std::env::consts::ARCH)
}

/// `A` against `B`, for `fcm-eval compare`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// One for each sequence that both have.
    pub sequences: Vec<ComparedSequence>,
}

/// BD-rates of one sequence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparedSequence {
    /// Its name.
    pub name: String,
    /// Chain by chain.
    pub rows: Vec<BdRow>,
}

/// BD-rates of the second report's chains against the same chains of the first; of tracks only where both made them with the same thresholds.
///
/// # Errors
/// When the reports have no chain of a sequence in common, or are of other networks or frames.
pub fn compare(a: &Report, b: &Report) -> Result<Comparison> {
    ensure!(a.network == b.network, "results of {:?} cannot be compared with those of {:?}", b.network, a.network);
    ensure!(a.truth == b.truth, "results by another truth cannot be compared (fcm-eval run --truth)");
    let mut sequences = Vec::new();
    for of_a in &a.sequences {
        let Some(of_b) = b.sequences.iter().find(|s| s.name == of_a.name) else { continue };
        ensure!(of_a.frames == of_b.frames, "{}: {} frames in A, {} in B", of_a.name, of_a.frames, of_b.frames);
        let both = |chain: &&str| {
            let points = |rows: &[Row]| rows.iter().filter(|r| r.chain == **chain).count();
            points(&of_a.rows) > 1 && points(&of_b.rows) > 1
        };
        let row = |c: &str| {
            let mut rates = bd_rates(&of_b.rows, c, &of_a.rows, c);
            if a.tracker != b.tracker {
                rates[OF_TRACKS].fill(None);
            }
            BdRow { chain: c.into(), rates }
        };
        let rows: Vec<BdRow> = chains(&of_a.rows).into_iter().filter(both).map(row).collect();
        if !rows.is_empty() {
            sequences.push(ComparedSequence { name: of_a.name.clone(), rows });
        }
    }
    ensure!(!sequences.is_empty(), "the two results have no chain with several points in common");
    Ok(Comparison { sequences })
}

impl Comparison {
    /// As a table of text.
    pub fn text(&self) -> String {
        let mut text = String::from("BD-rate of B against A (negative: B needs less for the same accuracy)\n");
        for sequence in &self.sequences {
            let _ = write!(text, "\n{}\n{:<16}", sequence.name, "chain");
            for name in NAMES {
                let _ = write!(text, "{name:>10}");
            }
            text.push('\n');
            for row in &sequence.rows {
                let _ = write!(text, "{:<16}", row.chain);
                for rate in row.rates {
                    let _ = write!(text, "{:>10}", percent(rate));
                }
                text.push('\n');
            }
        }
        text
    }
}

/// A BD-rate for people.
fn percent(rate: Option<f64>) -> String {
    rate.map_or_else(|| "–".into(), |r| format!("{r:+.1} %"))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    fn row(chain: &str, qp: u32, kbit_s: f64, quality: f64) -> Row {
        let accuracy = Accuracy {
            ap50: Some(quality),
            ap75: Some(quality / 2.0),
            mota: Some(quality - 0.2),
            idf1: None,
            hota: Some(quality),
        };
        let setting = if qp > 0 { format!("qp {qp}") } else { String::new() };
        Row {
            chain: chain.into(),
            setting,
            kbit_s,
            bytes: (kbit_s * 125.0) as u64,
            accuracy,
            encode_ms: 3.0,
            decode_ms: 1.0,
        }
    }

    pub fn report() -> Report {
        let mut rows = vec![row("uncompressed", 0, 900_000.0, 0.8), row("f16-zstd", 0, 300_000.0, 0.8)];
        for (n, rate) in [800.0, 400.0, 200.0, 100.0].into_iter().enumerate() {
            let n = n as u32;
            rows.push(row("fcm-none", 26 + n, rate, 0.8 - 0.1 * f64::from(n)));
            rows.push(row("fcm-z-score", 26 + n, rate / 2.0, 0.8 - 0.1 * f64::from(n)));
        }
        rows.sort_by(|a, b| a.chain.cmp(&b.chain));
        let bd_rates = bd_tables(&rows, &["fcm-none".into(), "remote-x265".into()]);
        let sequence = SequenceReport {
            name: "walk, slow".into(),
            frames: 96,
            frames_per_second: Some(25.0),
            persons: 700,
            layers: vec!["p3 64x76x136".into()],
            transform: "K = 640, learnt from street:2".into(),
            rows,
            bd_rates,
        };
        Report {
            title: "Test".into(),
            command: "fcm-eval run walk".into(),
            machine: "a machine".into(),
            commit: "0123456789ab".into(),
            network: "a network".into(),
            truth: Truth::Annotated,
            tracker: Thresholds::default(),
            workers: 2,
            sequences: vec![sequence],
        }
    }

    #[test]
    fn half_the_rate_at_every_accuracy_is_fifty_per_cent_saved() {
        let report = report();
        let [table] = &report.sequences[0].bd_rates[..] else { panic!("a reference that was not run has a table") };
        assert_eq!(table.reference, "fcm-none");
        let [row] = &table.rows[..] else { panic!("chains of one point have a BD-rate: {table:?}") };
        assert_eq!(row.chain, "fcm-z-score");
        for (name, rate) in NAMES.iter().zip(row.rates) {
            if *name == "IDF1" {
                assert_eq!(rate, None, "a measure without values has a rate");
            } else {
                assert!((rate.unwrap() + 50.0).abs() < 1e-6, "{name} {rate:?}");
            }
        }
    }

    #[test]
    fn a_report_reads_back_from_its_json() {
        let folder = crate::tests::Folder::new().unwrap();
        let report = report();
        report.write(&folder.path().join("r.1")).unwrap();
        assert_eq!(Report::read(&folder.path().join("r.1.json")).unwrap(), report);
        assert!(folder.path().join("r.1.md").exists() && folder.path().join("r.1.csv").exists());
    }

    #[test]
    fn csv_has_one_line_a_row_and_quotes_names_with_commas() {
        let csv = report().csv();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[0], "sequence,chain,setting,kbit_s,AP50,AP75,MOTA,IDF1,HOTA,encode_ms,decode_ms,bytes");
        let z_score = "\"walk, slow\",fcm-z-score,qp 27,200.000,0.70000,0.35000,0.50000,,0.70000,3.000,1.000,25000";
        assert!(lines.contains(&z_score), "{csv}");
    }

    #[test]
    fn comparing_finds_what_a_change_saved() {
        let a = report();
        let mut b = report();
        for row in &mut b.sequences[0].rows {
            row.kbit_s *= if row.chain == "fcm-z-score" { 0.9 } else { 1.0 };
        }
        let comparison = compare(&a, &b).unwrap();
        let rows = &comparison.sequences[0].rows;
        let rate = |chain: &str| rows.iter().find(|r| r.chain == chain).unwrap().rates[0].unwrap();
        assert!((rate("fcm-z-score") + 10.0).abs() < 1e-6 && rate("fcm-none").abs() < 1e-6);
        assert!(comparison.text().contains("-10.0 %"));
        b.tracker.high = 0.5;
        let rates = compare(&a, &b).unwrap().sequences[0].rows[0].rates;
        assert!(rates[0].is_some() && rates[2].is_none(), "tracks of other thresholds are compared");
        b.sequences[0].frames = 95;
        assert!(compare(&a, &b).unwrap_err().to_string().contains("96 frames in A, 95 in B"));
        b.truth = Truth::Uncompressed;
        assert!(compare(&a, &b).unwrap_err().to_string().contains("another truth"));
        b.network = "other".into();
        assert!(compare(&a, &b).unwrap_err().to_string().contains("other"));
    }
}
