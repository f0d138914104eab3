//! Replays two years of a real market, the crash of 2008 among them, through a paper broker, and records all of it.
//!
//!     cargo run --release --example market_replay
//!
//! One second is one trading day. Prices and volumes are real (see `examples/data/README.md`); fills are worked out
//! from them, and the times between signal and fill are simulated by a seeded generator. Each run does the same.

#![expect(clippy::cast_precision_loss, reason = "counts of days, scores and shares are far below 2^52")]

mod account;
mod arguments;
mod bars;
mod broker;
mod desk;
mod drift;
mod execution;
mod indicators;
mod model;
mod orders;
mod risk;
mod screen;
#[cfg(test)]
mod story;
mod strategies;
mod telemetry;

use std::error::Error;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use arguments::{Arguments, Request};
use bars::Day;
use desk::Desk;
use screen::Screen;
use telemetry::Recorder;

/// The market, embedded, so that the program runs from any folder.
pub(crate) const BARS: &str = include_str!("../data/daily_bars_2007_2009.csv");

fn main() -> ExitCode {
    let mut screen = Screen::new();
    let arguments = match arguments::parse(std::env::args().skip(1)) {
        Ok(Request::Replay(arguments)) => arguments,
        Ok(Request::Help) => {
            screen.line(arguments::HELP);
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            screen.error(&format!("{problem}; see --help"));
            return ExitCode::from(2);
        }
    };
    match run(&arguments, &mut screen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            screen.error(&problem.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, screen: &mut Screen) -> Result<(), Box<dyn Error>> {
    let days = bars::parse(BARS)?;
    let recorder = Recorder::start()?;
    let stop = stop_signal();
    screen.line(&introduction(&days, arguments));
    replay(&days, arguments, &recorder, &stop, screen);
    screen.line(&recorder.shutdown()?);
    Ok(())
}

fn introduction(days: &[Day], arguments: &Arguments) -> String {
    let symbols: Vec<&str> =
        days.iter().take(1).flat_map(|day| &day.bars).map(|(symbol, _)| *symbol).collect();
    let [first, .., last] = days else { return String::new() };
    format!(
        "market replay: {} trading days of {}, {} to {}, one every {} ms\n\
         a paper broker fills at real daily prices; times from signal to fill are simulated\n\n{}\n\nCtrl-C ends it\n",
        days.len(),
        symbols.join(", "),
        first.date,
        last.date,
        arguments.pace.as_millis(),
        Recorder::where_to_look(),
    )
}

/// Lives through the days, again and again, until the arguments or a person end it.
fn replay(days: &[Day], arguments: &Arguments, recorder: &Recorder, stop: &Receiver<()>, screen: &mut Screen) {
    let mut left = arguments.days;
    let mut next_id = 1;
    loop {
        let mut desk = Desk::open(recorder, next_id);
        for day in days {
            if left == Some(0) {
                desk.close();
                return;
            }
            screen.day(&desk.live_through(day));
            left = left.map(|days| days - 1);
            if stopped(stop, arguments) || screen.is_closed() {
                desk.close();
                screen.line("stopping");
                return;
            }
        }
        next_id = desk.close();
        if arguments.once {
            screen.line("end of the data");
            return;
        }
        if left != Some(0) {
            screen.line("end of the data: starting over with a new portfolio");
        }
    }
}

/// Waits for the next day, and says whether it shall not come.
fn stopped(stop: &Receiver<()>, arguments: &Arguments) -> bool {
    match stop.recv_timeout(arguments.pace) {
        Ok(()) => true,
        Err(RecvTimeoutError::Timeout) => false,
        Err(RecvTimeoutError::Disconnected) => {
            // Without a signal handler Ctrl-C ends the program the hard way.
            thread::sleep(arguments.pace);
            false
        }
    }
}

/// A message for the first Ctrl-C, or `SIGTERM` where there is one.
fn stop_signal() -> Receiver<()> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(a_signal())?;
        let _ = sender.send(());
        std::io::Result::Ok(())
    });
    receiver
}

#[cfg(unix)]
async fn a_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn a_signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
