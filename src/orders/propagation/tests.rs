use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::future::{Ready, ready};

use http::{HeaderMap, HeaderValue, Request};
use opentelemetry::baggage::{Baggage, BaggageExt};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::trace::{SpanKind, TraceContextExt, Tracer};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use proptest::prelude::*;

use super::*;
use crate::orders::exported::spans_of;
use crate::orders::{Identity, Order};

fn process(work: impl FnOnce()) -> Vec<SpanData> {
    spans_of(|_| work())
}

fn find<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name} in {spans:?}"))
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes
        .iter()
        .find(|attribute| attribute.key.as_str() == key)
        .map(|found| found.value.to_string())
}

fn current_order() -> Option<(String, Option<String>, Option<String>)> {
    let owned = |value: Option<&str>| value.map(str::to_owned);
    Identity::with_current(|order, _| {
        order.map(|order| (order.order_id().to_owned(), owned(order.symbol()), owned(order.strategy())))
    })
}

fn sent(carrier: &mut impl Outbound) -> Vec<SpanData> {
    process(|| {
        let _order =
            Order::new("abc123").symbol("BRK.B").strategy("Swing, fast").span("submit_order").entered();
        Propagation::default().inject(carrier);
    })
}

fn crosses<C: Inbound + Outbound + Default>() {
    let mut carrier = C::default();
    let first = sent(&mut carrier);
    let second = process(|| {
        let remote = Propagation::default().extract(&carrier);
        let expected = Some(("abc123".into(), Some("BRK.B".into()), Some("Swing, fast".into())));
        remote.span("execute_order").in_scope(|| {
            assert_eq!(current_order(), expected);
            tracing::info_span!("fill").in_scope(|| assert_eq!(current_order(), expected));
        });
        assert_eq!(current_order(), None);
    });
    let sender = find(&first, "submit_order");
    let receiver = find(&second, "execute_order");
    assert_eq!(receiver.span_context.trace_id(), sender.span_context.trace_id());
    assert_eq!(receiver.parent_span_id, sender.span_context.span_id());
    assert!(receiver.parent_span_is_remote);
    for span in ["execute_order", "fill"] {
        assert_eq!(attribute(find(&second, span), "order_id").as_deref(), Some("abc123"), "{span}");
        assert_eq!(attribute(find(&second, span), "strategy").as_deref(), Some("Swing, fast"), "{span}");
    }
}

#[test]
fn an_order_crosses_in_headers() {
    crosses::<HeaderMap>();
}

#[test]
fn an_order_crosses_in_string_maps_and_pairs() {
    crosses::<HashMap<String, String>>();
    crosses::<BTreeMap<String, String>>();
    crosses::<Vec<(String, String)>>();
}

#[test]
fn an_order_crosses_through_the_global_interface() {
    let mut entry = HashMap::new();
    process(|| {
        let _order = Order::new("abc").span("submit").entered();
        TextMapPropagator::inject(&Propagation::default(), &mut entry);
    });
    let context = TextMapPropagator::extract(&Propagation::default(), &entry);
    assert_eq!(context.get::<Identity>().map(Identity::order_id), Some("abc"));
    assert!(context.span().span_context().is_remote());
    assert_eq!(Propagation::default().fields().collect::<Vec<_>>(), ["traceparent", "tracestate", "baggage"]);
    assert_eq!(Propagation::new(false, true).fields().collect::<Vec<_>>(), ["baggage"]);
}

#[test]
fn a_span_on_another_task_keeps_the_order() {
    let mut carrier = HeaderMap::new();
    sent(&mut carrier);
    process(|| {
        use tracing::Instrument as _;
        let span = Propagation::default().extract(&carrier).span("execute");
        let work = async {
            tokio::task::yield_now().await;
            current_order().map(|order| order.0)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(work.instrument(span)).as_deref(), Some("abc123"));
    });
}

#[test]
fn a_span_of_ones_own_continues_and_an_attached_context_is_current() {
    let mut carrier = HeaderMap::new();
    let first = sent(&mut carrier);
    let second = process(|| {
        let remote = Propagation::default().extract(&carrier);
        let own = tracing::info_span!("own");
        remote.continue_on(&own);
        own.in_scope(|| assert_eq!(current_order().unwrap().0, "abc123"));
        let _attached = remote.attach();
        assert_eq!(current_order().unwrap().0, "abc123");
        tracing::info_span!("inside").in_scope(|| {});
    });
    for name in ["own", "inside"] {
        let parent = find(&first, "submit_order").span_context.span_id();
        assert_eq!(find(&second, name).parent_span_id, parent, "{name}");
        assert_eq!(attribute(find(&second, name), "order_id").as_deref(), Some("abc123"), "{name}");
    }
}

#[test]
fn fan_in_links_to_every_cause() {
    let (mut one, mut two) = (HeaderMap::new(), HeaderMap::new());
    let causes = [sent(&mut one), sent(&mut two)];
    let spans = process(|| {
        let batch = tracing::info_span!("send_batch");
        for carrier in [&one, &two, &HeaderMap::new()] {
            Propagation::default().extract(carrier).link_to(&batch);
        }
        batch.in_scope(|| {});
    });
    let linked: Vec<_> =
        find(&spans, "send_batch").links.iter().map(|link| link.span_context.span_id()).collect();
    let expected = causes.iter().map(|spans| find(spans, "submit_order").span_context.span_id());
    assert_eq!(linked, expected.collect::<Vec<_>>());
}

#[test]
fn services_answer_inside_their_callers_order() {
    struct Hyper;
    impl hyper::service::Service<Request<()>> for Hyper {
        type Response = Option<String>;
        type Error = Infallible;
        type Future = Ready<Result<Option<String>, Infallible>>;
        fn call(&self, _: Request<()>) -> Self::Future {
            ready(Ok(current_order().map(|order| order.0)))
        }
    }
    struct Tower;
    impl tower_service::Service<Request<()>> for Tower {
        type Response = Option<String>;
        type Error = Infallible;
        type Future = Ready<Result<Option<String>, Infallible>>;
        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<()>) -> Self::Future {
            ready(Ok(current_order().map(|order| order.0)))
        }
    }
    let mut headers = HeaderMap::new();
    let first = sent(&mut headers);
    let request = || {
        let mut request = Request::post("/orders?token=secret").body(()).unwrap();
        *request.headers_mut() = headers.clone();
        request
    };
    let second = process(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let layer = Propagation::default().layer();
        let hyper = hyper::service::Service::call(&layer.wrap(Hyper), request());
        assert_eq!(runtime.block_on(hyper).unwrap().as_deref(), Some("abc123"));
        let tower = tower_service::Service::call(&mut tower_layer::Layer::layer(&layer, Tower), request());
        assert_eq!(runtime.block_on(tower).unwrap().as_deref(), Some("abc123"));
    });
    assert_eq!(second.len(), 2);
    for span in &second {
        assert_eq!(span.parent_span_id, find(&first, "submit_order").span_context.span_id());
        assert_eq!(span.span_kind, SpanKind::Server);
        assert_eq!(span.name, "POST");
        assert_eq!(attribute(span, "url.path").as_deref(), Some("/orders"));
        assert_eq!(attribute(span, "http.request.method").as_deref(), Some("POST"));
    }
}

#[test]
fn baggage_of_others_passes_through_and_cannot_name_the_order() {
    let context = Context::new().with_baggage([
        opentelemetry::KeyValue::new("tenant", "a,b;c=d%41 é"),
        opentelemetry::KeyValue::new("order_id", "forged"),
    ]);
    let mut entry = HashMap::new();
    TextMapPropagator::inject_context(&Propagation::default(), &context, &mut entry);
    assert_eq!(entry["baggage"], "tenant=a%2Cb%3Bc=d%2541%20%C3%A9");
    let remote = Propagation::default().extract(&entry);
    assert_eq!(remote.context().baggage().get("tenant").unwrap().as_str(), "a,b;c=d%41 é");
    assert!(remote.identity().is_none());
}

#[test]
fn properties_of_a_member_cannot_add_a_member() {
    let mut baggage = Baggage::new();
    baggage.insert_with_metadata("a", "1", "ttl=3");
    baggage.insert_with_metadata("b", "2", "x,order_id=forged");
    let context = Context::new().with_baggage(baggage);
    let mut entry = HashMap::new();
    TextMapPropagator::inject_context(&Propagation::default(), &context, &mut entry);
    let mut members: Vec<_> = entry["baggage"].split(',').collect();
    members.sort_unstable();
    assert_eq!(members, ["a=1;ttl=3", "b=2"]);
}

#[test]
fn the_propagators_are_chosen_by_name() {
    let chosen = |list| Propagation::from_names(list);
    assert_eq!(chosen("tracecontext,baggage"), (Propagation::default(), vec![]));
    assert_eq!(chosen(""), (Propagation::default(), vec![]));
    assert_eq!(chosen(" baggage , b3 , jaeger"), (Propagation::new(false, true), vec!["b3", "jaeger"]));
    assert_eq!(chosen("none"), (Propagation::new(false, false), vec![]));
    let mut carrier = HeaderMap::new();
    process(|| {
        let _order = Order::new("abc").span("submit").entered();
        Propagation::new(false, false).inject(&mut carrier);
        assert!(carrier.is_empty());
        Propagation::new(true, false).inject(&mut carrier);
        assert!(carrier.contains_key("traceparent") && !carrier.contains_key("baggage"));
    });
    assert!(Propagation::new(false, true).extract(&carrier).span_context().is_none());
}

#[test]
fn an_unsampled_trace_says_so() {
    let sdk = SdkTracerProvider::builder().with_sampler(opentelemetry_sdk::trace::Sampler::AlwaysOff).build();
    let span = sdk.tracer("test").start("unsampled");
    let context = Context::new().with_span(span);
    let mut entry = HashMap::new();
    TextMapPropagator::inject_context(&Propagation::default(), &context, &mut entry);
    assert!(entry["traceparent"].ends_with("-00"));
    assert!(!Propagation::default().extract(&entry).span_context().unwrap().is_sampled());
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

#[test]
fn a_traceparent_is_taken_to_the_letter() {
    let taken =
        |value: &str| Propagation::default().extract(&[("Traceparent", value)][..]).span_context().is_some();
    assert!(taken(&format!("00-{TRACE}-{SPAN}-01")));
    assert!(taken(&format!("cc-{TRACE}-{SPAN}-01-what-comes-later")));
    for refused in [
        String::new(),
        format!("00-{TRACE}-{SPAN}-01-more"),
        format!("00-{TRACE}-{SPAN}-1"),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("0x-{TRACE}-{SPAN}-01"),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("00-{TRACE}-+0f067aa0ba902b7-01"),
        format!("00-{}-{SPAN}-01", "0".repeat(32)),
        format!("00-{TRACE}-{}-01", "0".repeat(16)),
        format!("cc-{TRACE}-{SPAN}-01-{}", "x".repeat(1_000_000)),
        format!("00-{TRACE}-{SPAN}-é"),
    ] {
        assert!(!taken(&refused), "{refused:.80}");
    }
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let twice = [("traceparent", parent.as_str()), ("traceparent", parent.as_str())];
    assert!(Propagation::default().extract(&twice[..]).span_context().is_none());
}

#[test]
fn a_tracestate_is_passed_on_unless_it_is_too_large() {
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let state = |state: &str| {
        let headers = [("traceparent", parent.as_str()), ("tracestate", state)];
        Propagation::default().extract(&headers[..]).span_context().unwrap().trace_state().header()
    };
    assert_eq!(state("vendor=1,other=2"), "vendor=1,other=2");
    assert_eq!(state(&format!("vendor={}", "x".repeat(600))), "");
    assert_eq!(state("not a state"), "");
}

#[test]
fn hostile_baggage_is_ignored() {
    let order = |value: &str| {
        let remote = Propagation::default().extract(&[("baggage", value)][..]);
        remote.identity().map(|order| order.order_id().to_owned())
    };
    assert_eq!(order(" order_id = abc ; ttl=1 , x=y").as_deref(), Some("abc"));
    assert_eq!(order("order_id=caf%C3%A9").as_deref(), Some("café"));
    assert_eq!(order("order_id=first,order_id=second").as_deref(), Some("first"));
    assert_eq!(order(&format!("order_id={}", "x".repeat(128))).unwrap().len(), 128);
    for refused in [
        format!("order_id={}", "x".repeat(129)),
        "order_id=a%0Ab".to_owned(),
        "order_id=a%00b".to_owned(),
        "order_id=%C2%85".to_owned(),
        "order_id=%FF%FE".to_owned(),
        "order_id=".to_owned(),
        "order_id".to_owned(),
        "order%5Fid=abc".to_owned(),
        format!("order_id=abc,{}", "x=1,".repeat(10_000)),
        format!("{}order_id=abc", "x=1,".repeat(64)),
    ] {
        assert_eq!(order(&refused), None, "{refused:.60}");
    }
    let mut many = HeaderMap::new();
    for _ in 0..5_000 {
        many.append("baggage", HeaderValue::from_static("order_id=abc"));
    }
    assert!(Propagation::default().extract(&many).identity().is_none());
    let mut binary = HeaderMap::new();
    binary.append("baggage", HeaderValue::from_bytes(b"order_id=\xff\xfe").unwrap());
    assert!(Propagation::default().extract(&binary).identity().is_none());
}

proptest! {
    #[test]
    fn every_identity_that_may_cross_arrives_as_it_was(
        order_id in "\\PC{1,32}", symbol in proptest::option::of("\\PC{0,40}"), tenant in "\\PC{0,64}",
    ) {
        let order = Identity {
            order_id: order_id.as_str().into(),
            symbol: symbol.as_deref().map(Into::into),
            strategy: None,
        };
        let mut context = Context::new().with_value(order);
        context = context.with_baggage([opentelemetry::KeyValue::new("tenant", tenant.clone())]);
        let mut headers = HeaderMap::new();
        Propagation::default().write(&context, &mut headers);
        let remote = Propagation::default().extract(&headers);
        let expected = Identity::from_outside(order_id, symbol, None);
        prop_assert_eq!(remote.identity(), expected.as_ref());
        let control = tenant.chars().any(char::is_control);
        let arrived = remote.context().baggage().get("tenant").map(ToString::to_string);
        prop_assert_eq!(arrived, (!control).then_some(tenant));
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(
        headers in proptest::collection::vec(
            (0..3_usize, proptest::collection::vec(any::<u8>(), 0..300)), 0..8,
        ),
    ) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                map.append(["traceparent", "tracestate", "baggage"][name], value);
            }
        }
        let remote = Propagation::default().extract(&map);
        if let Some(order) = remote.identity() {
            prop_assert!(Identity::may_cross(order.order_id()));
        }
    }

    #[test]
    fn texts_that_nearly_are_headers_do_no_harm(
        parent in "[0-9a-f]{0,2}-[0-9a-f]{31,33}-[0-9a-f]{15,17}-[0-9a-f]{0,3}(-.{0,4})?",
        state in "[a-z@/*0-9]{0,9}=?.{0,9},?",
        baggage in "((order_id|symbol|x)?(=|;|%|%4|%zz|,| |\\PC){0,4}){0,12}",
    ) {
        let pairs = [("traceparent", parent), ("tracestate", state), ("baggage", baggage)];
        let remote = Propagation::default().extract(&pairs[..]);
        let mut again = HashMap::new();
        TextMapPropagator::inject_context(&Propagation::default(), remote.context(), &mut again);
    }
}
