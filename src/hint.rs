//! "Did you mean": the nearest of the words that would have been right.

/// How many letters must be added, left out, exchanged or swapped with their neighbour to make one word of the other
/// (optimal string alignment).
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut rows = vec![vec![0_usize; to.len() + 1]; from.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=from.len() {
        for j in 1..=to.len() {
            let exchange = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = exchange.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[from.len()][to.len()]
}

/// The candidate that `word` is a slip of the finger away from. Case and `-` for `_` cost nothing; a short word
/// allows one slip, a long one a third of its letters, three at most.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // No key is near this long; without the bound a megabyte of a key would cost its square.
    if word.len() > 100 {
        return None;
    }
    let word = fold(word);
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &fold(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A name as it looks in a variable of the environment, in lower case.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// `: did you mean …?`, or else `: ` and the alternative.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    otherwise: &str,
) -> String {
    match nearest(word, candidates) {
        Some(candidate) => format!(": did you mean `{candidate}`?"),
        None => format!(": {otherwise}"),
    }
}

/// `a, b or c`.
pub(crate) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => format!("`{word}`"),
        [front @ .., last] => {
            let front: Vec<_> = front.iter().map(|word| format!("`{word}`")).collect();
            format!("{} or `{last}`", front.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_slip_finds_its_key_and_another_word_finds_none() {
        let keys = ["prometheus_port", "prometheus_host", "required"];
        assert_eq!(nearest("prometheus_prot", keys), Some("prometheus_port"));
        assert_eq!(nearest("Prometheus-Port", keys), Some("prometheus_port"));
        assert_eq!(nearest("require", keys), Some("required"));
        assert_eq!(nearest("database", keys), None);
        assert_eq!(nearest("monitorng", ["monitoring", "metrics"]), Some("monitoring"));
        assert_eq!(nearest("db", ["otlp"]), None);
    }

    proptest! {
        #[test]
        fn distance_is_symmetric_bounded_and_zero_only_for_equal_words(a in "[a-d_]{0,12}", b in "[a-d_]{0,12}") {
            let d = distance(&a, &b);
            prop_assert_eq!(d, distance(&b, &a));
            prop_assert_eq!(d == 0, a == b);
            prop_assert!(d <= a.len().max(b.len()));
            prop_assert!(d >= a.len().abs_diff(b.len()));
        }

        #[test]
        fn one_slip_in_a_word_is_always_found(word in "[a-z]{3,20}", at in 0_usize..20, letter in "[A-Z]") {
            let at = at % word.len();
            let mut slipped = word.clone();
            slipped.replace_range(at..=at, &letter);
            prop_assert!(distance(&word, &slipped) == 1);
            prop_assert_eq!(nearest(&slipped, [word.as_str()]), Some(word.as_str()));
        }
    }
}
