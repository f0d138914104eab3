//! Texts that look like a secret: refused in a rule, since a message shows them to everybody, and masked in the error
//! that says so.

use std::ops::Range;

/// Where a secret stands in `text`, in bytes, and what it looks like.
pub(crate) fn find(text: &str) -> Option<(Range<usize>, &'static str)> {
    let webhook =
        text.find("hooks.slack.com/").map(|start| (until_space(text, start), "a Slack webhook URL"));
    let slack = ["xoxb-", "xoxp-", "xapp-"]
        .iter()
        .find_map(|prefix| text.find(prefix))
        .map(|start| (until_space(text, start), "a Slack token"));
    webhook.or(slack).or_else(|| bot_token(text).map(|range| (range, "a Telegram bot token")))
}

/// The text with `***` in place of each secret.
pub(crate) fn mask(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some((range, _)) = find(&text) {
        text.replace_range(range, "***");
    }
    text
}

fn until_space(text: &str, start: usize) -> Range<usize> {
    let end = text[start..].find(|c: char| c.is_whitespace() || "\"'`,;)<>".contains(c));
    start..end.map_or(text.len(), |length| start + length)
}

/// Eight or more digits, a colon, thirty or more of the alphabet of tokens.
fn bot_token(text: &str) -> Option<Range<usize>> {
    text.match_indices(':').find_map(|(colon, _)| {
        let digits = text[..colon].bytes().rev().take_while(u8::is_ascii_digit).count();
        let secret = text[colon + 1..]
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            .count();
        (digits >= 8 && secret >= 30).then(|| colon - digits..colon + 1 + secret)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let token = format!("12345678:{}", "A".repeat(35));
        assert_eq!(mask(&format!("see {token}, now")), "see ***, now");
        assert_eq!(mask("'https://hooks.slack.com/services/T0/B0/x' and xoxb-1-2"), "'https://***' and ***");
        assert_eq!(mask("12:30 at ratio 10000000:1"), "12:30 at ratio 10000000:1");
    }
}
