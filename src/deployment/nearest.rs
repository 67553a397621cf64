//! What may have been meant by a name that does not exist.

/// How many slips a name may be away.
const SLIPS: usize = 2;
/// Longer names are not compared: it would take long, and they are no slips of a typist.
const LONGEST: usize = 128;

/// `\nhint: did you mean X?`, or nothing.
pub fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map(|near| format!("\nhint: did you mean `{near}`?")).unwrap_or_default()
}

/// The known name that is nearest, if it is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let slips = SLIPS.min(name.chars().count() / 2);
    let near = known.into_iter().filter(|known| {
        known.len().abs_diff(name.len()) <= 4 * SLIPS && known.len() <= LONGEST && name.len() <= LONGEST
    });
    let distances = near.map(|known| (edits(&lower, &known.to_lowercase()), known));
    distances
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.chars().enumerate() {
            let change = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["Table", "TableName", "Bucket"];
        for (name, expected) in [
            ("Tabel", Some("Table")),
            ("table", Some("Table")),
            ("TableNam", Some("TableName")),
            ("Queue", None),
            ("B", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
        assert_eq!(hint("Buckets", known), "\nhint: did you mean `Bucket`?");
        assert_eq!(hint("X", known), "");
    }
}
