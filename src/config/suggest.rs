/// The one of `names` that was meant by `name`, if one is close enough.
pub(super) fn suggest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            let length = name.chars().count().max(candidate.chars().count());
            *distance < length && *distance <= length.div_ceil(3)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements of a character that lead from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("same", "same"), 0);
        assert_eq!(distance("neighbors", "neighbours"), 1);
    }

    #[test]
    fn only_near_names_are_suggested() {
        let names = ["history", "k", "neighbours", "stairs"];
        assert_eq!(suggest("histroy", names.into_iter()), Some("history"));
        assert_eq!(suggest("neighbors", names.into_iter()), Some("neighbours"));
        assert_eq!(suggest("stars", names.into_iter()), Some("stairs"));
        assert_eq!(suggest("x", names.into_iter()), None, "one letter is as near to any other");
        assert_eq!(suggest("colour", names.into_iter()), None);
    }
}
