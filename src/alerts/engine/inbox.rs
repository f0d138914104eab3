//! Between a caller, who must not wait, and the engine: direct alerts that it has not taken yet.

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::alerts::direct::DirectAlert;
use crate::alerts::event::AlertSeverity;
use crate::lock::lock;
use crate::told::Told;

/// How many direct alerts may wait for the engine, which takes them within microseconds on an idle machine.
const WAITING: usize = 4096;

/// Direct alerts that wait. Taking one in costs the same however many there are.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    full: Told,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By severity, each with the number of its arrival.
    alerts: [VecDeque<(u64, DirectAlert)>; AlertSeverity::ALL.len()],
    arrived: u64,
    dropped: u64,
}

impl Inbox {
    /// Takes an alert in. Where there is no room the oldest of the mildest goes; a critical one never for anything less,
    /// and not for one like it either.
    pub(super) fn push(&self, alert: DirectAlert) {
        let mut waiting = lock(&self.waiting);
        if waiting.alerts.iter().map(VecDeque::len).sum::<usize>() >= WAITING {
            let at_most = (alert.severity as usize).min(AlertSeverity::Warning as usize);
            let dropped = waiting.alerts[..=at_most].iter_mut().find_map(VecDeque::pop_front);
            let has_room = dropped.is_some() || alert.severity == AlertSeverity::Critical;
            waiting.dropped += u64::from(dropped.is_some() || !has_room);
            if !has_room {
                return;
            }
        }
        waiting.arrived += 1;
        let number = waiting.arrived;
        waiting.alerts[alert.severity as usize].push_back((number, alert));
    }

    /// Everything that waits, in the order of its arrival, and an alert about what there was no room for.
    pub(super) fn take(&self) -> Vec<DirectAlert> {
        let waiting = {
            let mut waiting = lock(&self.waiting);
            let arrived = waiting.arrived;
            std::mem::replace(&mut *waiting, Waiting { arrived, ..Waiting::default() })
        };
        let mut numbered: Vec<_> = waiting.alerts.into_iter().flatten().collect();
        numbered.sort_unstable_by_key(|(number, _)| *number);
        let dropped = (waiting.dropped > 0).then(|| self.about_dropped(waiting.dropped));
        numbered.into_iter().map(|(_, alert)| alert).chain(dropped).collect()
    }

    fn about_dropped(&self, dropped: u64) -> DirectAlert {
        self.full.once(|| {
            tracing::error!(
                target: "trading_telemetry",
                waiting = WAITING,
                hint = "alerts are sent faster than they can be taken: the mildest are dropped",
                "alert_inbox_full"
            );
        });
        let message = "Alerts were sent faster than they could be taken: the mildest were dropped.";
        let mut alert = DirectAlert::new(AlertSeverity::Warning, "Alerts were dropped", message);
        alert.metadata = vec![("dropped".to_owned(), i64::try_from(dropped).unwrap_or(i64::MAX).into())];
        alert
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AlertSeverity::{Critical, Info, Warning};

    fn alert(severity: AlertSeverity, title: &str) -> DirectAlert {
        DirectAlert::new(severity, title, "")
    }

    #[test]
    fn what_waits_comes_out_in_the_order_in_which_it_came() {
        let inbox = Inbox::default();
        for (severity, title) in [(Info, "1"), (Critical, "2"), (Warning, "3"), (Info, "4")] {
            inbox.push(alert(severity, title));
        }
        assert_eq!(
            inbox.take().iter().map(|alert| alert.title.as_str()).collect::<Vec<_>>(),
            ["1", "2", "3", "4"]
        );
        assert!(inbox.take().is_empty());
    }

    #[test]
    fn without_room_the_mildest_goes_never_a_critical_one_and_the_number_is_told() {
        let inbox = Inbox::default();
        for number in 0..WAITING - 2 {
            inbox.push(alert(Critical, &number.to_string()));
        }
        inbox.push(alert(Info, "info"));
        inbox.push(alert(Warning, "warning"));
        inbox.push(alert(Critical, "in place of the information"));
        inbox.push(alert(Info, "milder than all that wait"));
        inbox.push(alert(Warning, "in place of the warning"));
        inbox.push(alert(Critical, "in place of that"));
        inbox.push(alert(Warning, "nothing left to give way"));
        inbox.push(alert(Critical, "never dropped"));
        let taken = inbox.take();
        assert_eq!(taken.iter().filter(|alert| alert.severity == Critical).count(), WAITING + 1);
        let milder: Vec<_> = taken.iter().filter(|alert| alert.severity < Critical).collect();
        assert_eq!(milder.len(), 1, "{milder:?}");
        assert_eq!((milder[0].title.as_str(), &milder[0].metadata[0].1), ("Alerts were dropped", &5.into()));
        assert!(inbox.take().is_empty(), "told once");
    }
}
