use std::collections::HashMap;
use std::thread;

use super::*;

const LONG: Duration = Duration::from_mins(1);

fn queue(lines: usize, when_full: WhenFull, block_for: Duration) -> Queue {
    Queue::new(QueueConfig { bytes: 1 << 20, lines, when_full, block_for }, Arc::default())
}

fn waiting(queue: &Queue) -> String {
    let mut batch = Batch::default();
    queue.take(&mut batch);
    String::from_utf8(batch.rest().to_vec()).unwrap()
}

#[test]
fn room_is_kept_for_warnings_and_the_last_of_it_for_audit() {
    let queue = queue(16, WhenFull::Drop, LONG);
    for (rank, text) in [(Rank::Ordinary, "o\n"), (Rank::Warning, "w\n"), (Rank::Audit, "a\n")] {
        for _ in 0..20 {
            queue.push(rank, &[text]);
        }
    }
    let lines = waiting(&queue);
    let count = |text| lines.matches(text).count();
    assert_eq!((count("o\n"), count("w\n"), count("a\n")), (12, 2, 2));
    assert_eq!((queue.stats.dropped(DropReason::QueueFull), queue.stats.audit_lost()), (8 + 18, 18));
    let told = Losses { queue_full: 26, write_failed: 0, audit: 18 };
    assert_eq!(queue.losses_to_tell(), Some(told));
    assert_eq!(queue.losses_to_tell(), None, "told once");
}

#[test]
fn losses_are_told_when_the_pressure_is_over() {
    let queue = queue(8, WhenFull::Drop, LONG);
    (0..8).for_each(|_| queue.push(Rank::Ordinary, &["o\n"]));
    assert_eq!(queue.losses_to_tell(), None, "still full");
    waiting(&queue);
    assert_eq!(queue.losses_to_tell(), Some(Losses { queue_full: 2, ..Losses::default() }));
}

#[test]
fn bytes_are_bounded_too_but_an_empty_queue_takes_any_line() {
    let queue = queue(1_000, WhenFull::Drop, LONG);
    let giant = "x".repeat(3 << 20) + "\n";
    queue.push(Rank::Ordinary, &[&giant]);
    queue.push(Rank::Audit, &["more\n"]);
    assert_eq!(waiting(&queue).len(), giant.len());
    let quarter = "x".repeat(256 << 10) + "\n";
    (0..4).for_each(|_| queue.push(Rank::Ordinary, &[&quarter]));
    assert_eq!(waiting(&queue).len(), 2 * quarter.len());
}

#[test]
fn blocked_callers_go_on_when_the_writer_takes_and_nothing_is_lost() {
    const CALLERS: usize = 4;
    const EACH: usize = 500;
    let queue = queue(8, WhenFull::Block, LONG);
    let mut next = HashMap::new();
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let queue = &queue;
            scope.spawn(move || {
                (0..EACH).for_each(|number| {
                    queue.push(Rank::Ordinary, &[&format!("{caller} "), &format!("{number}\n")]);
                });
            });
        }
        while next.values().sum::<usize>() < CALLERS * EACH {
            for line in waiting(&queue).lines() {
                let (caller, number) = line.split_once(' ').unwrap();
                let next = next.entry(caller.to_owned()).or_insert(0);
                assert_eq!(number.parse::<usize>().unwrap(), *next);
                *next += 1;
            }
        }
    });
    assert_eq!(queue.stats.dropped(DropReason::QueueFull), 0);
}

#[test]
fn a_disk_that_hangs_is_waited_for_once_and_not_by_every_line() {
    let queue = queue(1, WhenFull::Block, Duration::from_millis(200));
    let start = Instant::now();
    (0..100).for_each(|_| queue.push(Rank::Ordinary, &["o\n"]));
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(200) && waited < Duration::from_secs(10), "{waited:?}");
    assert_eq!(queue.stats.dropped(DropReason::QueueFull), 99);
}

#[test]
fn a_disk_that_refuses_is_not_waited_for() {
    let queue = queue(1, WhenFull::Block, LONG);
    queue.push(Rank::Ordinary, &["o\n"]);
    assert!(queue.pause(Duration::ZERO, false));
    let start = Instant::now();
    queue.push(Rank::Ordinary, &["o\n"]);
    assert!(start.elapsed() < LONG / 2);
    assert_eq!(queue.stats.dropped(DropReason::WriteFailed), 1);
}

#[test]
fn a_thread_of_the_log_itself_never_waits() {
    let queue = queue(1, WhenFull::Block, LONG);
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            never_wait_here();
            (0..2).for_each(|_| queue.push(Rank::Warning, &["w\n"]));
        });
    });
    assert!(start.elapsed() < LONG / 2);
    assert_eq!(queue.stats.dropped(DropReason::QueueFull), 1);
}

#[test]
fn flush_returns_when_the_lines_before_it_are_written() {
    let queue = queue(100, WhenFull::Drop, LONG);
    (0..3).for_each(|_| queue.push(Rank::Ordinary, &["o\n"]));
    assert_eq!(queue.flush(Duration::from_millis(10)), Err(Unwritten { lines: 3 }));
    let mut batch = Batch::default();
    queue.take(&mut batch);
    thread::scope(|scope| {
        let flush = scope.spawn(|| queue.flush(LONG));
        while !lock(&queue.state).urgent {
            thread::yield_now();
        }
        queue.wrote(batch.advance(4));
        queue.push(Rank::Ordinary, &["later\n"]);
        assert!(!flush.is_finished());
        queue.wrote(batch.advance(2));
        flush.join().unwrap().unwrap();
    });
    assert_eq!(queue.stats.written(), 3);
}

#[test]
fn what_is_given_up_is_counted_line_by_line() {
    let queue = queue(100, WhenFull::Drop, LONG);
    for rank in [Rank::Ordinary, Rank::Audit, Rank::Ordinary] {
        queue.push(rank, &["taken\n"]);
    }
    let mut batch = Batch::default();
    queue.take(&mut batch);
    queue.wrote(batch.advance(6));
    queue.push(Rank::Audit, &["waiting\n"]);
    queue.close(Instant::now());
    assert!(!queue.pause(LONG, false), "no time is left");
    queue.abandon(&mut batch);
    queue.finish();
    assert_eq!(queue.finished(Instant::now()), Err(Unwritten { lines: 3 }));
    assert_eq!((queue.stats.dropped(DropReason::WriteFailed), queue.stats.audit_lost()), (1, 2));
}

#[test]
fn a_refusal_that_lasts_ends_the_closing_after_one_more_try() {
    let queue = queue(100, WhenFull::Drop, LONG);
    let start = Instant::now();
    thread::scope(|scope| {
        let try_again = scope.spawn(|| queue.pause(LONG, true));
        while lock(&queue.state).disk != Disk::Refuses {
            thread::yield_now();
        }
        queue.close(start + LONG);
        assert!(try_again.join().unwrap(), "one more try, at once");
    });
    assert!(!queue.pause(LONG, true), "and no further one");
    assert!(queue.pause(Duration::ZERO, false), "one that may heal has the time that is left");
    assert!(start.elapsed() < LONG / 2);
}
