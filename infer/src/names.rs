//! Names that look like another one, for error messages.

/// Most names in a suggestion.
const MOST: usize = 5;

/// Edits (insert, delete, replace a character) that make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The names that look most like `name`, the best first; `otherwise` where none does.
pub(crate) fn near<'a>(
    name: &str,
    all: impl Iterator<Item = &'a str>,
    otherwise: impl Iterator<Item = &'a str>,
) -> Vec<String> {
    let most_edits = (name.chars().count() / 3).max(1);
    let mut found: Vec<(usize, &str)> = all
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= 4 * most_edits)
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|&(edits, _)| edits <= most_edits)
        .collect();
    found.sort_unstable();
    found.dedup();
    let names: Vec<&str> =
        if found.is_empty() { otherwise.take(MOST).collect() } else { found.into_iter().map(|(_, n)| n).collect() };
    names.into_iter().take(MOST).map(str::to_owned).collect()
}

/// The end of a message about an unknown name.
pub(crate) fn suggestion(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; there are {}", near.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in [("", "", 0), ("956", "956", 0), ("956", "965", 2), ("images", "image", 1), ("", "abc", 3)]
        {
            assert_eq!(distance(a, b), edits, "{a} {b}");
            assert_eq!(distance(b, a), edits, "{b} {a}");
        }
    }

    #[test]
    fn the_nearest_comes_first_and_the_far_are_left_out() {
        let all = ["backbone/p3", "backbone/p4", "images", "neck/p3"];
        assert_eq!(near("backbone/p33", all.into_iter(), [].into_iter())[0], "backbone/p3");
        assert!(!near("backbone/p33", all.into_iter(), [].into_iter()).contains(&"images".to_owned()));
        assert_eq!(near("zzzzzz", all.into_iter(), ["out"].into_iter()), ["out"]);
    }
}
