//! W3C Baggage, with the order's identity in it.

use opentelemetry::Context;
use opentelemetry::baggage::{Baggage, BaggageExt, BaggageMetadata};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::{Inbound, Outbound};
use crate::orders::Identity;
use crate::orders::identity::{ORDER_ID, STRATEGY, SYMBOL};

pub(super) const BAGGAGE: &str = "baggage";

/// The specification's limits (3.3.2), for the way out and the way in.
const MAX_BYTES: usize = 8192;
const MAX_MEMBERS: usize = 64;

/// What a value may not hold as it is (3.3.1.3). Without `%` a value that looks encoded would change on its way.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b',').add(b';').add(b'\\').add(b'%');

pub(super) fn write(context: &Context, carrier: &mut impl Outbound) {
    let mut header = Header::default();
    // The order first: it is the last that the limits may cut off.
    if let Some(order) = context.get::<Identity>() {
        let values =
            [(ORDER_ID, Some(order.order_id())), (SYMBOL, order.symbol()), (STRATEGY, order.strategy())];
        for (name, value) in values {
            if let Some(value) = value.filter(|value| Identity::may_cross(value)) {
                header.push(name, value, "");
            }
        }
    }
    for (name, (value, metadata)) in context.baggage() {
        if !is_identity(name.as_str()) {
            header.push(name.as_str(), value.as_str(), metadata.as_str());
        }
    }
    if header.members > 0 {
        carrier.put(BAGGAGE, header.text);
    }
}

#[derive(Default)]
struct Header {
    text: String,
    members: usize,
}

impl Header {
    fn push(&mut self, name: &str, value: &str, metadata: &str) {
        let before = self.text.len();
        if self.members > 0 {
            self.text.push(',');
        }
        self.text.push_str(name);
        self.text.push('=');
        self.text.extend(utf8_percent_encode(value, ENCODED));
        // Properties are anything that a caller wrote: a comma in them would begin a member of its own.
        if !metadata.is_empty() && metadata.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b',')
        {
            self.text.push(';');
            self.text.push_str(metadata);
        }
        if self.text.len() > MAX_BYTES || self.members == MAX_MEMBERS {
            self.text.truncate(before);
        } else {
            self.members += 1;
        }
    }
}

pub(super) fn read(context: Context, carrier: &(impl Inbound + ?Sized)) -> Context {
    let mut bytes = 0;
    for value in carrier.values(BAGGAGE) {
        bytes += value.len() + 1;
        if bytes > MAX_BYTES + 1 {
            return context;
        }
    }
    let mut order = [None, None, None];
    let mut others = Baggage::new();
    let members = carrier.values(BAGGAGE).flat_map(|value| value.split(',')).take(MAX_MEMBERS);
    for (name, value, metadata) in members.filter_map(member) {
        match [ORDER_ID, SYMBOL, STRATEGY].iter().position(|own| *own == name) {
            Some(at) => _ = order[at].get_or_insert(value),
            None if others.get(name).is_none() => {
                others.insert_with_metadata(name.to_owned(), value, BaggageMetadata::from(metadata));
            }
            None => {}
        }
    }
    let [order_id, symbol, strategy] = order;
    let context = match order_id.and_then(|order_id| Identity::from_outside(order_id, symbol, strategy)) {
        Some(order) => context.with_value(order),
        None => context,
    };
    if others.is_empty() { context } else { context.with_baggage(others) }
}

/// A member's name, decoded value and properties.
fn member(text: &str) -> Option<(&str, String, &str)> {
    let (pair, metadata) = text.split_once(';').unwrap_or((text, ""));
    let (name, value) = pair.split_once('=')?;
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    (!value.chars().any(char::is_control)).then(|| (name.trim(), value.into_owned(), metadata.trim()))
}

fn is_identity(name: &str) -> bool {
    matches!(name, ORDER_ID | SYMBOL | STRATEGY)
}
