//! Ids that sort by time of birth.

use jiff::Timestamp;

/// Crockford's alphabet: no letter that looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The id of an incident: the milliseconds of its birth and a number that makes it unique, e.g. `1hq9x3v8w-02c9`.
///
/// `sequence` counts within a process, from a start that differs between processes: its low 20 bits are shown.
pub fn incident_id(wall: Timestamp, sequence: u64) -> String {
    let millis = u64::try_from(wall.as_millisecond()).unwrap_or(0);
    let mut id = String::with_capacity(14);
    digits(millis, 9, &mut id);
    id.push('-');
    digits(sequence, 4, &mut id);
    id
}

fn digits(number: u64, count: u32, out: &mut String) {
    for place in (0..count).rev() {
        let digit = usize::try_from((number >> (5 * place)) & 31).unwrap_or(0);
        out.push(char::from(ALPHABET[digit]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_differ_by_sequence() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let early = incident_id(at(1_700_000_000), 9);
        let late = incident_id(at(1_700_000_001), 1);
        assert!(early < late, "{early} {late}");
        assert_ne!(incident_id(at(1), 1), incident_id(at(1), 2));
        assert_eq!(early.len(), 14);
    }
}
