//! A small strict parser: whatever a scraper could stumble over is an error here.

use std::collections::{BTreeMap, HashSet};

use super::Format;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
    pub(super) exemplar: Option<(BTreeMap<String, String>, f64)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Parsed {
    pub(super) name: String,
    pub(super) help: Option<String>,
    pub(super) kind: String,
    pub(super) unit: Option<String>,
    pub(super) samples: Vec<Sample>,
}

impl Parsed {
    pub(super) fn value(&self, sample: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: BTreeMap<String, String> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.iter().find(|one| one.name == sample && one.labels == labels).map(|one| one.value)
    }
}

pub(super) fn family<'p>(families: &'p [Parsed], name: &str) -> Option<&'p Parsed> {
    families.iter().find(|family| family.name == name)
}

/// Parses a scrape, or tells the line that is wrong.
pub(super) fn parse(text: &str, format: Format) -> Result<Vec<Parsed>, String> {
    let body = match format {
        Format::Text => text,
        Format::OpenMetrics => text.strip_suffix("# EOF\n").ok_or("no # EOF at the end")?,
    };
    if !body.is_empty() && !body.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    let mut families: Vec<Parsed> = Vec::new();
    let mut seen: HashSet<(String, BTreeMap<String, String>)> = HashSet::new();
    for line in body.split_terminator('\n') {
        let wrong = |why: &str| format!("{why}: {line}");
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (Some(keyword), Some(name), Some(rest)) = (words.next(), words.next(), words.next()) else {
                return Err(wrong("a comment of three parts was expected"));
            };
            if !is_name(name, true) {
                return Err(wrong("no family name"));
            }
            let begins = families.last().is_none_or(|family| family.name != name);
            if begins {
                if families.iter().any(|family| family.name == name) {
                    return Err(wrong("the family occurs twice"));
                }
                families.push(Parsed { name: name.to_owned(), ..Parsed::default() });
            }
            let family = families.last_mut().ok_or("unreachable")?;
            if !family.samples.is_empty() {
                return Err(wrong("metadata after samples"));
            }
            match keyword {
                "HELP" if family.help.is_none() => {
                    let quotes = format == Format::OpenMetrics;
                    family.help = Some(unescape(rest, quotes).map_err(|why| wrong(&why))?);
                }
                "TYPE" if family.kind.is_empty() => rest.clone_into(&mut family.kind),
                "UNIT" if format == Format::OpenMetrics && family.unit.is_none() => {
                    if !name.ends_with(rest) {
                        return Err(wrong("the name does not end in its unit"));
                    }
                    family.unit = Some(rest.to_owned());
                }
                _ => return Err(wrong("an unknown or repeated keyword")),
            }
            continue;
        }
        let sample = sample(line, format).map_err(|why| wrong(&why))?;
        if !seen.insert((sample.name.clone(), sample.labels.clone())) {
            return Err(wrong("the series occurs twice"));
        }
        let family = families.last_mut().ok_or_else(|| wrong("a sample without a family"))?;
        if !belongs(&sample, family, format) {
            return Err(wrong("the sample is not the family's"));
        }
        family.samples.push(sample);
    }
    for family in &families {
        check(family)?;
    }
    Ok(families)
}

fn belongs(sample: &Sample, family: &Parsed, format: Format) -> bool {
    let Some(suffix) = sample.name.strip_prefix(&family.name) else { return false };
    let exemplar = sample.exemplar.is_none() || matches!(suffix, "_bucket" | "_total");
    exemplar
        && match (family.kind.as_str(), format) {
            ("gauge", _) | ("counter", Format::Text) => suffix.is_empty(),
            ("counter", Format::OpenMetrics) => suffix == "_total",
            ("info", Format::OpenMetrics) => suffix == "_info",
            ("histogram", _) => match suffix {
                "_bucket" => sample.labels.contains_key("le"),
                "_count" | "_sum" => !sample.labels.contains_key("le"),
                _ => false,
            },
            _ => false,
        }
}

/// A histogram's buckets are sorted, cumulative, and end in `+Inf`, which equals `_count`; a counter is not negative.
fn check(family: &Parsed) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{why}: {}", family.name));
    if family.kind.is_empty() {
        return wrong("no type");
    }
    let mut last: Option<(BTreeMap<String, String>, f64, f64)> = None;
    for sample in &family.samples {
        if family.kind == "counter" && sample.value < 0.0 {
            return wrong("a negative counter");
        }
        let Some(le) = sample.labels.get("le").filter(|_| sample.name.ends_with("_bucket")) else {
            if sample.name.ends_with("_count")
                && family.kind == "histogram"
                && !last.as_ref().is_some_and(|last| last.1.is_infinite() && last.2 == sample.value)
            {
                return wrong("_count is not the bucket +Inf");
            }
            continue;
        };
        let bound = number(le)?;
        let mut labels = sample.labels.clone();
        labels.remove("le");
        let ended = last.as_ref().is_none_or(|last| last.1.is_infinite());
        match &last {
            Some((known, ..)) if ended && *known == labels => return wrong("a bucket after +Inf"),
            Some((known, below, count))
                if !ended && (*known != labels || *below >= bound || *count > sample.value) =>
            {
                return wrong("buckets out of order");
            }
            _ => {}
        }
        last = Some((labels, bound, sample.value));
    }
    if last.is_some_and(|last| last.1.is_finite()) { wrong("no bucket +Inf") } else { Ok(()) }
}

fn sample(line: &str, format: Format) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name, true) {
        return Err("no sample name".to_owned());
    }
    let mut labels = BTreeMap::new();
    if rest.starts_with('{') {
        (labels, rest) = label_set(rest)?;
    }
    let rest = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let (value, exemplar) = match rest.split_once(" # ") {
        None => (rest, None),
        Some((value, exemplar)) if format == Format::OpenMetrics => {
            let (labels, rest) = label_set(exemplar)?;
            let length: usize =
                labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
            if length > 128 {
                return Err("an exemplar of more than 128 characters".to_owned());
            }
            (value, Some((labels, number(rest.strip_prefix(' ').ok_or("no space")?)?)))
        }
        Some(_) => return Err("an exemplar in text".to_owned()),
    };
    Ok(Sample { name: name.to_owned(), labels, value: number(value)?, exemplar })
}

fn label_set(text: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut rest = text.strip_prefix('{').ok_or("no {")?;
    let mut labels = BTreeMap::new();
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("no =\"")?;
        if !is_name(name, false) {
            return Err(format!("no label name {name:?}"));
        }
        let mut escaped = false;
        let end = after
            .char_indices()
            .find(|(_, letter)| {
                let ends = *letter == '"' && !escaped;
                escaped = *letter == '\\' && !escaped;
                ends
            })
            .ok_or("no closing quote")?
            .0;
        if labels.insert(name.to_owned(), unescape(&after[..end], true)?).is_some() {
            return Err(format!("label {name} occurs twice"));
        }
        rest = &after[end + 1..];
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        rest = rest.strip_prefix(',').ok_or("no comma")?;
    }
}

fn unescape(text: &str, quotes: bool) -> Result<String, String> {
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n') => plain.push('\n'),
                Some('\\') => plain.push('\\'),
                Some('"') if quotes => plain.push('"'),
                other => return Err(format!("escape of {other:?}")),
            },
            '"' if quotes => return Err("a bare quote".to_owned()),
            letter => plain.push(letter),
        }
    }
    Ok(plain)
}

fn number(text: &str) -> Result<f64, String> {
    let value = match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        _ => text.parse().map_err(|_| format!("no number {text:?}"))?,
    };
    let float = text.contains(['.', 'e', 'I', 'N']);
    if float { Ok(value) } else { Err(format!("not written as a float: {text}")) }
}

fn is_name(name: &str, colons: bool) -> bool {
    let valid = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || (colons && letter == ':');
    !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit()) && name.chars().all(valid)
}
