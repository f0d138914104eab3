//! Numbers as Python's `prometheus_client` prints them: always floats, the shortest digits that read back equal, and
//! Go's exponent from a million on.

/// Appends `value` as `prometheus_client.utils.floatToGoString` does: `8.0`, `1e+06`, `1e-05`, `+Inf`, `NaN`.
pub(super) fn write_float(out: &mut Vec<u8>, value: f64) {
    if let Some(small) = small_integer(value) {
        return write_small(out, small);
    }
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    if let Some(exponent) = text.iter().position(|byte| *byte == b'e') {
        return write_exponent(out, text, exponent);
    }
    if value.abs() < 1e-4 && value != 0.0 {
        return write_small_exponent(out, text);
    }
    match text.iter().position(|byte| *byte == b'.') {
        // Python's client switches for positive values alone, and only where `repr` has not.
        Some(dot) if dot > 6 && value > 0.0 => write_go_exponent(out, text, dot),
        _ => out.extend_from_slice(text),
    }
}

/// Appends a count. Beyond 2^53 it is rounded, as every Prometheus value is.
#[expect(clippy::cast_precision_loss, reason = "a Prometheus value is a float")]
pub(super) fn write_count(out: &mut Vec<u8>, count: u64) {
    write_float(out, count as f64);
}

/// Most values are counts and whole dollars below a million: their digits need no search.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates and is compared with the original")]
fn small_integer(value: f64) -> Option<i32> {
    let whole = value as i32;
    let exact = f64::from(whole).to_bits() == value.to_bits(); // -0.0 differs from 0 in its bits
    (exact && whole.unsigned_abs() < 1_000_000).then_some(whole)
}

/// `value` has six digits at most.
fn write_small(out: &mut Vec<u8>, value: i32) {
    if value < 0 {
        out.push(b'-');
    }
    let mut digits = *b"000000.0";
    let mut rest = value.unsigned_abs();
    let mut start = 6;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// From a million to 1e16, where `repr` itself turns to an exponent.
const EXPONENTS: [&[u8; 2]; 10] = [b"06", b"07", b"08", b"09", b"10", b"11", b"12", b"13", b"14", b"15"];

/// `1234567.5` to `1.2345675e+06`: `text` is a positive decimal with its point at `dot`, at least 7.
fn write_go_exponent(out: &mut Vec<u8>, text: &[u8], dot: usize) {
    let start = out.len();
    out.push(text[0]);
    out.push(b'.');
    out.extend_from_slice(&text[1..dot]);
    out.extend_from_slice(&text[dot + 1..]);
    while out.len() > start + 1 && matches!(out.last(), Some(b'0' | b'.')) {
        out.pop();
    }
    out.extend_from_slice(b"e+");
    out.extend_from_slice(EXPONENTS.get(dot - 7).copied().unwrap_or(b"16"));
}

/// `1e-7` to `1e-07`: an exponent has a sign and two digits at least. `at` is where the `e` stands.
fn write_exponent(out: &mut Vec<u8>, text: &[u8], at: usize) {
    let (mantissa, exponent) = (&text[..at], &text[at + 1..]);
    let digits = exponent.iter().position(u8::is_ascii_digit).unwrap_or(exponent.len());
    out.extend_from_slice(mantissa);
    out.extend_from_slice(if exponent.first() == Some(&b'-') { b"e-" } else { b"e+" });
    if exponent.len() - digits < 2 {
        out.push(b'0');
    }
    out.extend_from_slice(&exponent[digits..]);
}

/// `0.000012` to `1.2e-05`: Python's `repr` turns to an exponent one digit sooner than zmij.
fn write_small_exponent(out: &mut Vec<u8>, text: &[u8]) {
    let digits = text.iter().position(|byte| byte.is_ascii_digit() && *byte != b'0').unwrap_or(text.len());
    if text.first() == Some(&b'-') {
        out.push(b'-');
    }
    let (first, rest) = text.split_at((digits + 1).min(text.len()));
    out.extend(first.last());
    if !rest.is_empty() {
        out.push(b'.');
        out.extend_from_slice(rest);
    }
    out.extend_from_slice(b"e-05"); // between 1e-5, where zmij turns too, and 1e-4
}

#[cfg(test)]
mod tests {
    use super::{write_count, write_float};
    use proptest::prelude::*;

    fn text(value: f64) -> String {
        let mut out = Vec::new();
        write_float(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_digits_are_those_of_pythons_client() {
        // Printed by `prometheus_client.utils.floatToGoString` 0.26 on Python 3.11.
        let golden = include_str!("golden/floats.txt");
        assert!(golden.lines().count() > 400);
        for line in golden.lines() {
            let (bits, expected) = line.split_once(' ').unwrap();
            let value = f64::from_bits(u64::from_str_radix(bits, 16).unwrap());
            assert_eq!(text(value), expected, "bits {bits}");
        }
    }

    #[test]
    fn a_count_is_a_float_too() {
        let mut out = Vec::new();
        write_count(&mut out, 12);
        write_count(&mut out, u64::MAX);
        assert_eq!(String::from_utf8(out).unwrap(), "12.01.8446744073709552e+19");
    }

    #[test]
    fn exponents_begin_where_pythons_do() {
        assert_eq!(text(0.000_012_5), "1.25e-05");
        assert_eq!(text(-0.000_099), "-9.9e-05");
        assert_eq!(text(0.0001), "0.0001");
        assert_eq!(text(0.000_009_9), "9.9e-06");
    }

    proptest! {
        #[test]
        fn every_float_reads_back_equal(bits: u64) {
            let value = f64::from_bits(bits);
            let read: f64 = text(value).parse().unwrap();
            prop_assert!(read.to_bits() == value.to_bits() || (read.is_nan() && value.is_nan()));
        }

        #[test]
        fn so_does_every_price(cents in -10_000_000_000_i64..10_000_000_000) {
            #[expect(clippy::cast_precision_loss)]
            let value = cents as f64 / 100.0;
            prop_assert_eq!(text(value).parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }
}
