//! Code of the service that acts on an incident's transition, with no network between.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};

use crate::alerts::event::Event;
use crate::lock::lock;
use crate::told::Told;

/// How many events may wait for one subscriber.
const WAITING: usize = 1024;

/// Everybody who is told. Each has a thread of its own, so that one that hangs delays nobody.
#[derive(Clone, Debug, Default)]
pub(super) struct Subscribers(Arc<Mutex<Vec<Subscriber>>>);

#[derive(Debug)]
struct Subscriber {
    events: SyncSender<Event>,
    too_slow: Told,
}

impl Subscribers {
    pub(super) fn add(&self, mut act: impl FnMut(&Event) + Send + 'static) -> std::io::Result<()> {
        let (events, receiver) = sync_channel::<Event>(WAITING);
        std::thread::Builder::new().name("alert-subscriber".into()).spawn(move || {
            for event in receiver {
                if catch_unwind(AssertUnwindSafe(|| act(&event))).is_err() {
                    tracing::error!(
                        target: "trading_telemetry",
                        incident = event.incident,
                        "alert_subscriber_panicked"
                    );
                }
            }
        })?;
        let subscriber = Subscriber { events, too_slow: Told::default() };
        lock(&self.0).push(subscriber);
        Ok(())
    }

    pub(super) fn tell(&self, events: &[Event]) {
        let subscribers = lock(&self.0);
        for subscriber in &*subscribers {
            for event in events {
                if let Err(TrySendError::Full(_)) = subscriber.events.try_send(event.clone()) {
                    subscriber.too_slow.once(|| {
                        tracing::error!(
                            target: "trading_telemetry",
                            waiting = WAITING,
                            hint = "a subscriber to alerts does not return; it misses events",
                            "alert_subscriber_too_slow"
                        );
                    });
                }
            }
        }
    }
}
