//! The metrics agree with py-motmetrics, TrackEval and SciPy on synthetic sequences. How the files were made: reference/make_reference.py.

use fcm_analytics::detection::Detection;
use fcm_analytics::geometry::Rect;
use fcm_analytics::metrics::{ALPHAS, ClearMot, Hota, Identity, average_precision, bd_rate};
use fcm_analytics::mot::{self, Entry, Object};
use serde_json::Value;
use std::path::PathBuf;

const TOLERANCE: f64 = 1e-6;
const FRAMES: u32 = 48;

fn read(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn expected() -> Value {
    serde_json::from_str(&read("expected.json")).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn entries(name: &str) -> Vec<Entry> {
    mot::parse(&read(name)).unwrap()
}

/// Truth and results of a sequence.
fn sequence(name: &str) -> [Vec<Vec<Object>>; 2] {
    ["gt", "res"].map(|kind| mot::by_frame(&entries(&format!("{name}.{kind}.txt")), FRAMES))
}

/// Compares a number; null is NaN.
fn same(what: &str, found: f64, expected: &Value) {
    match expected.as_f64() {
        Some(expected) => assert!((found - expected).abs() <= TOLERANCE, "{what}: {found} is not {expected}"),
        None => assert!(expected.is_null() && found.is_nan(), "{what}: {found} is not {expected}"),
    }
}

fn same_counts(name: &str, clear: &ClearMot, identity: &Identity, expected: &Value) {
    let check =
        |field: &str, found: f64| same(&format!("{name} at {} {field}", expected["iou"]), found, &expected[field]);
    for (field, count) in [
        ("num_frames", clear.frames),
        ("num_objects", clear.objects),
        ("num_predictions", clear.predictions),
        ("num_unique_objects", clear.unique_objects),
        ("num_matches", clear.matches),
        ("num_switches", clear.switches),
        ("num_false_positives", clear.false_positives),
        ("num_misses", clear.misses),
        ("num_fragmentations", clear.fragmentations),
        ("mostly_tracked", clear.mostly_tracked),
        ("partially_tracked", clear.partially_tracked),
        ("mostly_lost", clear.mostly_lost),
        ("idtp", identity.true_positives),
    ] {
        check(field, count as f64);
    }
    for (field, found) in [
        ("mota", clear.mota()),
        ("motp", clear.motp()),
        ("precision", clear.precision()),
        ("recall", clear.recall()),
        ("idf1", identity.f1()),
        ("idp", identity.precision()),
        ("idr", identity.recall()),
    ] {
        check(field, found);
    }
}

fn same_hota(name: &str, found: &Hota, expected: &Value) {
    let counts = |counts: &[u64; ALPHAS]| counts.map(|count| count as f64);
    for (field, found) in [
        ("HOTA", found.accuracies()),
        ("DetA", found.detection_accuracies()),
        ("AssA", found.association_accuracies()),
        ("HOTA_TP", counts(&found.true_positives)),
        ("HOTA_FN", counts(&found.misses)),
        ("HOTA_FP", counts(&found.false_positives)),
    ] {
        let expected = list(&expected[field]);
        assert_eq!(expected.len(), ALPHAS);
        for (n, (found, expected)) in found.iter().zip(expected).enumerate() {
            same(&format!("{name} {field}[{n}]"), *found, expected);
        }
    }
    let mean = |field: &str| -> Value {
        (list(&expected[field]).iter().map(|v| v.as_f64().unwrap()).sum::<f64>() / ALPHAS as f64).into()
    };
    same(&format!("{name} HOTA"), found.hota(), &mean("HOTA"));
    same(&format!("{name} DetA"), found.detection_accuracy(), &mean("DetA"));
    same(&format!("{name} AssA"), found.association_accuracy(), &mean("AssA"));
    same(&format!("{name} LocA"), found.localisation_accuracy(), &mean("LocA"));
}

#[test]
fn clear_mot_and_identity_are_those_of_py_motmetrics() {
    for scene in list(&expected()["sequences"]) {
        let name = scene["name"].as_str().unwrap();
        let [truth, results] = sequence(name);
        for at in list(&scene["at"]) {
            let iou = at["iou"].as_f64().unwrap();
            let (clear, identity) =
                (ClearMot::evaluate(&truth, &results, iou), Identity::evaluate(&truth, &results, iou));
            same_counts(name, &clear, &identity, at);
        }
    }
}

#[test]
fn hota_is_that_of_trackeval() {
    for scene in list(&expected()["sequences"]) {
        let name = scene["name"].as_str().unwrap();
        let [truth, results] = sequence(name);
        same_hota(name, &Hota::evaluate(&truth, &results), &scene["hota"]);
    }
}

#[test]
fn several_sequences_add_up_as_in_those_tools() {
    let together = &expected()["together"];
    let sequences: Vec<_> = list(&together["names"]).iter().map(|name| sequence(name.as_str().unwrap())).collect();
    for at in list(&together["at"]) {
        let iou = at["iou"].as_f64().unwrap();
        let (mut clear, mut identity) = (ClearMot::default(), Identity::default());
        for [truth, results] in &sequences {
            clear.merge(&ClearMot::evaluate(truth, results, iou));
            identity.merge(&Identity::evaluate(truth, results, iou));
        }
        same_counts("together", &clear, &identity, at);
    }
    let mut hota = Hota::default();
    sequences.iter().for_each(|[truth, results]| hota.merge(&Hota::evaluate(truth, results)));
    same_hota("together", &hota, &together["hota"]);
}

#[test]
fn average_precision_is_that_of_another_formula() {
    for scene in list(&expected()["sequences"]) {
        let name = scene["name"].as_str().unwrap();
        let mut truth: Vec<Vec<Rect>> = vec![Vec::new(); FRAMES as usize];
        entries(&format!("{name}.gt.txt")).iter().for_each(|e| truth[e.frame as usize - 1].push(e.rect));
        let mut found: Vec<Vec<Detection>> = vec![Vec::new(); FRAMES as usize];
        for e in entries(&format!("{name}.res.txt")) {
            found[e.frame as usize - 1].push(Detection { rect: e.rect, score: e.confidence, class: 0 });
        }
        for at in list(&scene["at"]) {
            let ap = average_precision(&found, &truth, at["iou"].as_f64().unwrap()).unwrap();
            same(&format!("{name} AP at {}", at["iou"]), ap, &at["ap"]);
        }
    }
}

#[test]
fn bd_rate_is_that_over_scipys_interpolation() {
    let curve = |points: &Value| -> Vec<(f64, f64)> {
        list(points).iter().map(|p| (p[0].as_f64().unwrap(), p[1].as_f64().unwrap())).collect()
    };
    let (mut numbers, mut nones) = (0, 0);
    for (n, case) in list(&expected()["bd_rate"]).iter().enumerate() {
        let found = bd_rate(&curve(&case["a"]), &curve(&case["b"]));
        same(&format!("BD-rate {n}"), found.unwrap_or(f64::NAN), &case["percent"]);
        *(if found.is_some() { &mut numbers } else { &mut nones }) += 1;
    }
    assert!(numbers > 20 && nones > 3, "{numbers} with and {nones} without common quality");
}
