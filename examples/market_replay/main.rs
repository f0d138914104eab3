//! Replays two years of a real market, the crash of 2008 among them, through a paper broker, and records all of it.
//!
//!     cargo run --release --example market_replay
//!
//! One second is one trading day. Prices and volumes are real (see `examples/data/README.md`); fills are worked out
//! from them, and the times between signal and fill are simulated by a seeded generator. Each run does the same.

#![expect(clippy::cast_precision_loss, reason = "counts of days, scores and shares are far below 2^52")]
#![cfg_attr(
    test,
    expect(clippy::float_cmp, reason = "prices read from the file and sums of them come out exactly")
)]

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
use std::io;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
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
    check_from(arguments, &days)?;
    let recorder = Recorder::start(arguments.pace)?;
    let (sender, words) = channel();
    stop_on_signal(sender.clone())?;
    if arguments.pace.is_none() {
        screen.keep_each_day();
        go_on_with_each_line(sender);
    }
    screen.line(&introduction(&days, arguments, &recorder));
    replay(&days, arguments, &recorder, &words, screen);
    screen.line(&recorder.shutdown()?);
    Ok(())
}

/// A replay that hurries to a day that never comes would show nothing.
fn check_from(arguments: &Arguments, days: &[Day]) -> Result<(), String> {
    match (arguments.from, days.last()) {
        (Some(from), Some(last)) if from > last.date => {
            Err(format!("--from {from} is after the last day of the data, {}", last.date))
        }
        _ => Ok(()),
    }
}

fn introduction(days: &[Day], arguments: &Arguments, recorder: &Recorder) -> String {
    let symbols: Vec<&str> =
        days.iter().take(1).flat_map(|day| &day.bars).map(|(symbol, _)| *symbol).collect();
    let [first, .., last] = days else { return String::new() };
    format!(
        "market replay: {} trading days of {}, {} to {}, one {}\n\
         a paper broker fills at real daily prices; times from signal to fill are simulated\n\n{}\n\nCtrl-C ends it\n",
        days.len(),
        symbols.join(", "),
        first.date,
        last.date,
        arguments
            .pace
            .map_or_else(|| "for each Enter".to_owned(), |pace| format!("every {} ms", pace.as_millis())),
        recorder.where_to_look(),
    )
}

/// Why a pass through the data ended.
enum End {
    Data,
    Stopped,
    Enough,
}

/// Lives through the days, again and again, until the arguments or a person end it.
fn replay(
    days: &[Day],
    arguments: &Arguments,
    recorder: &Recorder,
    words: &Receiver<Word>,
    screen: &mut Screen,
) {
    let mut left = arguments.days;
    let mut next_id = 1;
    loop {
        let mut desk = Desk::open(recorder, next_id);
        let end = pass(&mut desk, days, &mut left, arguments, words, screen);
        next_id = desk.close();
        screen.keep_progress();
        match end {
            End::Data if arguments.once => return screen.line("end of the data"),
            End::Data => screen.line("end of the data: starting over with a new portfolio"),
            End::Stopped => return screen.line("stopping"),
            End::Enough => return,
        }
    }
}

fn pass(
    desk: &mut Desk<'_>,
    days: &[Day],
    left: &mut Option<u64>,
    arguments: &Arguments,
    words: &Receiver<Word>,
    screen: &mut Screen,
) -> End {
    for day in days {
        if *left == Some(0) {
            return End::Enough;
        }
        let report = desk.live_through(day);
        if arguments.from.is_some_and(|from| day.date < from) {
            if stopped_in_a_hurry(words, arguments) {
                return End::Stopped;
            }
            continue;
        }
        screen.day(&report);
        *left = left.map(|days| days - 1);
        // The last day of a limited replay needs no pause after it.
        if *left != Some(0) && (stopped(words, arguments) || screen.is_closed()) {
            return End::Stopped;
        }
    }
    if *left == Some(0) { End::Enough } else { End::Data }
}

/// What a person says.
#[derive(PartialEq, Eq)]
enum Word {
    GoOn,
    Stop,
}

/// Waits for the next day, and says whether it shall not come.
fn stopped(words: &Receiver<Word>, arguments: &Arguments) -> bool {
    match arguments.pace {
        Some(pace) => words.recv_timeout(pace) != Err(RecvTimeoutError::Timeout),
        None => words.recv() != Ok(Word::GoOn),
    }
}

/// Says whether the days that are hurried through shall end. With `--step` the words are for the days after them.
fn stopped_in_a_hurry(words: &Receiver<Word>, arguments: &Arguments) -> bool {
    arguments.pace.is_some() && words.try_recv().is_ok()
}

/// Goes on with each line of standard input, and stops with its end.
fn go_on_with_each_line(words: Sender<Word>) {
    thread::spawn(move || {
        for _ in io::stdin().lines().map_while(Result::ok) {
            // The replay may have ended by itself, here and below.
            let _ = words.send(Word::GoOn);
        }
        let _ = words.send(Word::Stop);
    });
}

/// Stops at the first Ctrl-C, or `SIGTERM` where there is one. The signals are caught when this returns.
fn stop_on_signal(words: Sender<Word>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signal = {
        let _inside = runtime.enter();
        a_signal()?
    };
    thread::spawn(move || {
        runtime.block_on(signal);
        let _ = words.send(Word::Stop);
    });
    Ok(())
}

#[cfg(unix)]
fn a_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(windows)]
fn a_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}
