//! `health`: which components are checked, how, and when a loss of one matters.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use secrecy::SecretString;

use super::leaf::Scalar;
use super::tree::{Entry, Key, Visitor, choice, section};

section! {
    /// Health of the components that trading depends on.
    pub struct HealthSettings {
        /// Time for one check, where the check does not say otherwise.
        timeout as "timeout_seconds": Duration = Duration::from_secs(5);
        /// Checks by the name of their component: broker, feed, database, redis, …, such as
        /// `redis: {kind: redis, url: "redis://127.0.0.1:6379", critical: true}`.
        checks: BTreeMap<String, CheckSettings> = BTreeMap::new();
        /// When a feed must be alive and portfolio figures fresh: always, until there is a time zone.
        hours: HoursSettings = HoursSettings::default();
        /// Daily windows in which a component may be away, in the time zone of the hours (else UTC), such as
        /// `broker: ["23:45-00:45"]`.
        maintenance: BTreeMap<String, Vec<DailyWindow>> = BTreeMap::new();
    }
}

section! {
    /// One component's check.
    pub struct CheckSettings {
        /// `tcp`, `http`, `postgres`, `redis` or `heartbeat`.
        kind: Option<CheckKind> = None;
        /// For http, postgres and redis. A secret, as it may hold a password: `url_file` names a file with it.
        url: Option<SecretString> = None;
        /// For tcp: host and port.
        address: Option<String> = None;
        /// For http: the status that is right; `null` is any of 200 to 299.
        status: Option<u16> = None, from 100.0 to 599.0;
        /// For http, postgres and redis over TLS: file with the certificates that are trusted (PEM); `null` trusts
        /// the system's.
        certificate: Option<PathBuf> = None;
        /// For heartbeat: silence after which the component is lost.
        late_after as "late_after_seconds": Duration = Duration::from_secs(5);
        /// Whether the system is not ready without the component, and a loss of it alerts.
        critical: bool = false;
        /// Time for one check; `null` is as for all.
        timeout as "timeout_seconds": Option<Duration> = None;
        /// Time between two checks; `null` is as for all.
        interval as "interval_seconds": Option<Duration> = None, from 0.1 to 86_400.0;
        /// Whether a loss outside `hours` is expected; `null` means that of `feed` is, and no other.
        only_in_hours: Option<bool> = None;
    }
}

impl Entry for BTreeMap<String, CheckSettings> {
    fn accept(&mut self, key: &Key, visitor: &mut dyn Visitor) {
        visitor.named(key, self);
    }
}

choice! {
    /// How a component is checked.
    pub enum CheckKind {
        /// A connection is accepted.
        Tcp = "tcp",
        /// A GET is answered with the right status.
        Http = "http",
        /// A query is answered.
        Postgres = "postgres",
        /// A PING is answered.
        Redis = "redis",
        /// The service itself says that the component lives.
        Heartbeat = "heartbeat",
    }
}

/// What a check does, with what it needs.
#[derive(Clone, Copy, Debug)]
pub enum Probe<'a> {
    /// Connects to host and port.
    Tcp(&'a str),
    /// Gets the URL.
    Http(&'a SecretString),
    /// Queries the database.
    Postgres(&'a SecretString),
    /// Pings the server.
    Redis(&'a SecretString),
    /// Waits at most this long for a sign of life.
    Heartbeat(Duration),
}

impl CheckSettings {
    /// What the check does; `None` while its kind, or what that kind needs, is not said, which no settings that
    /// were loaded are.
    pub fn probe(&self) -> Option<Probe<'_>> {
        Some(match self.kind? {
            CheckKind::Tcp => Probe::Tcp(self.address.as_deref()?),
            CheckKind::Http => Probe::Http(self.url.as_ref()?),
            CheckKind::Postgres => Probe::Postgres(self.url.as_ref()?),
            CheckKind::Redis => Probe::Redis(self.url.as_ref()?),
            CheckKind::Heartbeat => Probe::Heartbeat(self.late_after),
        })
    }
}

section! {
    /// The hours of the market.
    pub struct HoursSettings {
        /// Time zone, such as `America/New_York`; `null` means that all hours count.
        timezone: Option<TimeZone> = None;
        /// Days of trading.
        days: Vec<Weekday> = vec![
            Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday,
        ];
        /// Start of the day.
        open: Time = Time::constant(9, 30, 0, 0);
        /// End of the day; before `open` it is on the next day.
        close: Time = Time::constant(16, 0, 0, 0);
        /// Dates without trading, such as 2025-12-25.
        holidays: Vec<Date> = Vec::new();
    }
}

impl HoursSettings {
    /// Whether the market is open at `at`; always, if there is no time zone.
    pub fn are_open(&self, at: Timestamp) -> bool {
        let Some(timezone) = &self.timezone else { return true };
        let local = at.to_zoned(timezone.clone()).datetime();
        let trades = |day: Date| self.days.contains(&day.weekday()) && !self.holidays.contains(&day);
        let time = local.time();
        if self.open < self.close {
            return trades(local.date()) && (self.open..self.close).contains(&time);
        }
        (time >= self.open && trades(local.date()))
            || (time < self.close && local.date().yesterday().is_ok_and(trades))
    }
}

impl HealthSettings {
    /// Whether `component` may be away at `at`.
    pub fn in_maintenance(&self, component: &str, at: Timestamp) -> bool {
        let timezone = self.hours.timezone.clone().unwrap_or(TimeZone::UTC);
        let local: DateTime = at.to_zoned(timezone).datetime();
        let windows = self.maintenance.get(component);
        windows.is_some_and(|windows| windows.iter().any(|window| window.contains(local.time())))
    }
}

/// A time of each day, such as `23:45-00:45`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DailyWindow {
    /// The first minute.
    pub from: Time,
    /// The minute after the last; before `from` it is on the next day.
    pub to: Time,
}

impl DailyWindow {
    /// Whether `time` is in the window.
    pub fn contains(&self, time: Time) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&time)
        } else {
            time >= self.from || time < self.to
        }
    }
}

impl fmt::Display for DailyWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from, self.to);
        write!(f, "{:02}:{:02}-{:02}:{:02}", from.hour(), from.minute(), to.hour(), to.minute())
    }
}

impl Scalar for DailyWindow {
    fn parse(text: &str, range: Option<(f64, f64)>) -> Result<Self, String> {
        let expected = |_| "a daily window such as 23:45-00:45".to_owned();
        let (from, to) = text.split_once('-').ok_or_else(|| expected(String::new()))?;
        let from = <Time as Scalar>::parse(from, range).map_err(expected)?;
        let to = <Time as Scalar>::parse(to, range).map_err(expected)?;
        if from == to { Err(expected(String::new())) } else { Ok(Self { from, to }) }
    }

    fn show(&self) -> String {
        format!("\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn hours_follow_the_exchange_through_summer_time_and_holidays() {
        let mut hours = HoursSettings::default();
        assert!(hours.are_open(at("2024-03-16T03:00:00Z")), "no time zone: always");
        hours.timezone = Some(TimeZone::get("America/New_York").unwrap());
        hours.holidays = vec![Date::constant(2024, 3, 29)];
        assert!(!hours.are_open(at("2024-03-08T14:00:00Z")), "09:00 in winter");
        assert!(hours.are_open(at("2024-03-08T14:30:00Z")), "09:30 in winter");
        assert!(hours.are_open(at("2024-03-15T13:30:00Z")), "09:30 in summer");
        assert!(!hours.are_open(at("2024-03-15T20:00:00Z")), "16:00 is closed");
        assert!(!hours.are_open(at("2024-03-16T15:00:00Z")), "Saturday");
        assert!(!hours.are_open(at("2024-03-29T15:00:00Z")), "Good Friday");
    }

    #[test]
    fn a_session_over_midnight_belongs_to_the_day_it_opened() {
        let hours = HoursSettings {
            timezone: Some(TimeZone::UTC),
            open: Time::constant(22, 0, 0, 0),
            close: Time::constant(4, 0, 0, 0),
            ..HoursSettings::default()
        };
        assert!(hours.are_open(at("2024-03-15T23:00:00Z")), "Friday night");
        assert!(hours.are_open(at("2024-03-16T03:59:00Z")), "its morning, a Saturday");
        assert!(!hours.are_open(at("2024-03-16T23:00:00Z")), "Saturday night");
        assert!(!hours.are_open(at("2024-03-18T03:00:00Z")), "Monday morning, of Sunday's session");
    }

    #[test]
    fn a_window_over_midnight_holds_both_sides() {
        let window = DailyWindow::parse("23:45-00:45", None).unwrap();
        let health = HealthSettings {
            maintenance: BTreeMap::from([("broker".to_owned(), vec![window])]),
            ..HealthSettings::default()
        };
        assert!(health.in_maintenance("broker", at("2024-03-15T23:50:00Z")));
        assert!(health.in_maintenance("broker", at("2024-03-15T00:44:59Z")));
        assert!(!health.in_maintenance("broker", at("2024-03-15T00:45:00Z")));
        assert!(!health.in_maintenance("feed", at("2024-03-15T23:50:00Z")));
        assert_eq!(window.show(), "\"23:45-00:45\"");
    }
}
