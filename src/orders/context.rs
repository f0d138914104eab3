//! The current OpenTelemetry context, also while a thread ends.

use std::cell::Cell;

use opentelemetry::Context;

/// What is known of OpenTelemetry's context on this thread.
#[derive(Clone, Copy)]
enum State {
    Unknown,
    There,
    Gone,
}

thread_local! {
    static STATE: Cell<State> = const { Cell::new(State::Unknown) };
    /// Made after OpenTelemetry's own and so destroyed before it: destructors run in the opposite order.
    static GUARD: Guard = {
        Context::map_current(|_| ());
        Guard
    };
}

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        STATE.set(State::Gone);
    }
}

/// Reads the current context; an empty one while the thread ends and destroys it. OpenTelemetry itself would panic then,
/// in a destructor, which ends the process.
#[inline]
pub(crate) fn with_context<T>(read: impl FnOnce(&Context) -> T) -> T {
    if is_there() { Context::map_current(read) } else { read(&Context::new()) }
}

/// Whether the thread has a current context.
#[inline]
pub(super) fn is_there() -> bool {
    match STATE.get() {
        State::There => true,
        State::Gone => false,
        State::Unknown => look(),
    }
}

#[cold]
fn look() -> bool {
    let is_there = GUARD.try_with(|_| ()).is_ok();
    STATE.set(if is_there { State::There } else { State::Gone });
    is_there
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::mpsc::{Sender, channel};

    use crate::testing::TestTelemetry;
    use crate::{OrderStatus, OrderType, Side, Strategy};

    /// Records when its thread has ended.
    struct Late(Strategy, Sender<()>);

    impl Drop for Late {
        fn drop(&mut self) {
            self.0.order(Side::Buy, OrderType::Limit, OrderStatus::Filled);
            self.0.pnl_dollars(1.5);
            let _ = self.1.send(());
        }
    }

    thread_local! {
        static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
    }

    #[test]
    fn what_is_recorded_while_a_thread_ends_counts() {
        let telemetry = TestTelemetry::new();
        let (told, ended) = channel();
        let strategy = telemetry.metrics().strategy("S");
        let thread = std::thread::spawn(move || {
            // It is there before the thread's first recording, so that everything that this needs is destroyed first.
            LATE.set(Some(Late(strategy.clone(), told)));
            strategy.order(Side::Buy, OrderType::Limit, OrderStatus::Filled);
            strategy.pnl_dollars(1.5);
        });
        thread.join().unwrap();
        ended.recv().unwrap();
        let scrape = telemetry.scrape();
        for series in [
            "trading_orders_total{order_type=\"LIMIT\",side=\"BUY\",status=\"FILLED\",strategy=\"S\"} 2.0",
            "trading_trade_pnl_dollars_count{strategy=\"S\"} 2.0",
        ] {
            assert!(scrape.contains(series), "{series} in\n{scrape}");
        }
    }
}
